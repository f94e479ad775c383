"""The run folder: one writer, whole files at every moment, readers that look on while a run goes on."""
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.files import atomic_write, check_absent, check_free_space
from cryosgd_plugin.io.fsc_star import write_fsc
from cryosgd_plugin.io.runfolder import ResultFolder, RunFolder
from cryosgd_plugin.io.volumes import write_volume

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STATE = {"volume": np.arange(24, dtype=np.complex64).reshape(2, 3, 4), "iteration": 17, "resolution_a": 12.5,
         "random_state": json.dumps({"state": 2 ** 100}), "empty": np.empty((0, 3))}


def other_process(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True,
                            cwd=ROOT)


HOLD = """
import sys, time
from cryosgd_plugin.io.runfolder import RunFolder
run = RunFolder(sys.argv[1])
run.write_job({"a": 1})
print("ready", flush=True)
time.sleep(60)
"""


def test_layout_and_json(tmp_path):
    with RunFolder(tmp_path / "new" / "run") as run:
        run.write_job({"box": np.int64(64), "step": (0.5, np.float32(0.25)), "path": tmp_path, "none": None})
        assert run.read_job() == {"box": 64, "step": [0.5, 0.25], "path": str(tmp_path), "none": None}
        run.write_summary({"resolution_a": float("nan"), "shells": np.arange(3)})
        assert json.loads(run.path("summary.json").read_text()) == {"resolution_a": None, "shells": [0, 1, 2]}
        assert run.progress_path(12) == tmp_path / "new/run/progress/volume_it0012.mrc"
        assert run.path("progress").is_dir() and run.path("pictures").is_dir()
    with pytest.raises(TypeError):
        with RunFolder(tmp_path / "bad") as run:
            run.write_job({"x": object()})
    assert not (tmp_path / "bad" / "job.json").exists()


def test_checkpoint_round_trip_replacement_and_damage(tmp_path):
    with RunFolder(tmp_path / "run") as run:
        assert not run.has_checkpoint
        with pytest.raises(InputError, match="holds no checkpoint; the run stopped before its first one"):
            run.load_checkpoint()
        run.save_checkpoint({"volume": np.zeros(3)})
        run.save_checkpoint(STATE)
        loaded = run.load_checkpoint()
        assert loaded.keys() == STATE.keys()
        assert loaded["volume"].dtype == np.complex64 and np.array_equal(loaded["volume"], STATE["volume"])
        assert int(loaded["iteration"]) == 17 and json.loads(str(loaded["random_state"])) == {"state": 2 ** 100}
        with pytest.raises(ValueError, match="checkpoint entry 'bad' is a Python object"):
            run.save_checkpoint({"bad": np.array([None])})
        assert int(run.load_checkpoint()["iteration"]) == 17
        content = bytearray(run.path("checkpoint.npz").read_bytes())
        run.path("checkpoint.npz").write_bytes(content[:len(content) // 2])
        with pytest.raises(InputError, match="checkpoint .* is damaged"):
            run.load_checkpoint()
        # a wrong array in a whole archive
        arrays = {**STATE, "iteration": 18}
        np.savez(run.path("checkpoint.npz"), checksum_sha256="0" * 64, **arrays)
        with pytest.raises(InputError, match="its checksum differs"):
            run.load_checkpoint()


def test_a_failed_save_leaves_the_former_checkpoint(tmp_path, monkeypatch):
    with RunFolder(tmp_path / "run") as run:
        run.save_checkpoint(STATE)

        def full(*_, **__):
            raise OSError(28, "No space left on device")
        monkeypatch.setattr("cryosgd_plugin.io.runfolder.np.savez", full)
        with pytest.raises(InputError, match="can't write .*checkpoint.npz: the disk is full; free space there"):
            run.save_checkpoint({"volume": np.zeros(2)})
        assert int(run.load_checkpoint()["iteration"]) == 17
        assert not [name for name in os.listdir(run.folder) if name.endswith(".partial")]


KILL = """
import sys
import numpy as np
from cryosgd_plugin.io.runfolder import RunFolder
run = RunFolder(sys.argv[1])
run.write_job({})
for i in range(10**6):
    run.save_checkpoint({"iteration": i, "volume": np.full(200000, i, np.float32)})
    run.append_history({"iteration": i})
    if i == 3:
        print("ready", flush=True)
"""


def test_kill_in_the_middle_of_writing(tmp_path):
    """After kill −9 at any moment: a whole checkpoint, valid history, a free lock, and `resume` goes on."""
    for delay in (0.0, 0.013, 0.037):
        folder = tmp_path / f"run{delay}"
        writer = other_process(KILL, folder)
        writer.stdout.readline()
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert ResultFolder(folder).writer() is None
        history = ResultFolder(folder).history()
        assert [record["iteration"] for record in history] == list(range(len(history))) and len(history) >= 3
        with RunFolder(folder, resume=True) as run:
            state = run.load_checkpoint()
            iteration = int(state["iteration"])
            assert np.all(state["volume"] == iteration) and iteration >= 3
            assert len(run.history) in (iteration, iteration + 1)
            run.truncate_history(iteration)
            run.append_history({"iteration": "next"})
            assert len(json.loads(run.path("history.json").read_text())) == iteration + 1


def test_second_writer_is_refused_with_the_first_ones_pid(tmp_path):
    first = other_process(HOLD, tmp_path / "run")
    try:
        assert first.stdout.readline() == "ready\n"
        for resume in (False, True):
            with pytest.raises(InputError, match=f"is being written by process {first.pid}; wait for it or stop it"):
                RunFolder(tmp_path / "run", resume=resume)
        assert ResultFolder(tmp_path / "run").writer() == first.pid
    finally:
        first.kill()
        first.wait()
    with RunFolder(tmp_path / "run", resume=True) as run:
        assert run.read_job() == {"a": 1}
        with pytest.raises(InputError, match=f"written by process {os.getpid()}"):
            RunFolder(tmp_path / "run", resume=True)
    assert ResultFolder(tmp_path / "run").writer() is None


def test_a_looking_viewer_does_not_keep_a_writer_out(tmp_path):
    """The viewer's shared lock lasts an instant; a writer that meets it tries again."""
    import fcntl
    import threading
    RunFolder(tmp_path / "run").close()
    viewer = os.open(tmp_path / "run" / "lock", os.O_RDONLY)
    fcntl.flock(viewer, fcntl.LOCK_SH)
    threading.Timer(0.06, os.close, (viewer,)).start()
    (tmp_path / "run" / "job.json").write_text("{}")
    RunFolder(tmp_path / "run", resume=True).close()


def test_refusals(tmp_path, monkeypatch):
    with RunFolder(tmp_path / "run") as run:
        run.write_job({})
    with pytest.raises(InputError, match=r"run holds the results of another run \(job.json, progress, pictures\); give "
                                         "another folder, or go on with that run by --continue"):
        RunFolder(tmp_path / "run")
    with pytest.raises(InputError, match="holds no run to continue"):
        RunFolder(tmp_path / "empty", resume=True)
    assert not (tmp_path / "empty").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="run folder .*file is a file"):
        RunFolder(tmp_path / "file")
    with pytest.raises(InputError, match="can't make the run folder .*file/run"):
        RunFolder(tmp_path / "file" / "run")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "volume.mrc").write_text("mine")
    with pytest.raises(InputError, match=r"holds the results of another run \(volume.mrc\)"):
        RunFolder(tmp_path / "foreign")
    assert os.listdir(tmp_path / "foreign") == ["volume.mrc"]  # not even a lock is left there
    (tmp_path / "run" / "job.json").write_text("{")
    with RunFolder(tmp_path / "run", resume=True) as run:
        with pytest.raises(InputError, match="job.json is damaged"):
            run.read_job()
    with pytest.raises(InputError, match=r"the run needs 1000000.00 GB in .*, where .* GB are free"):
        RunFolder(tmp_path / "large", needed_bytes=10 ** 15)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere, so permissions can't be tested as root")
def test_folder_without_permission(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(InputError, match="you have no permission; correct the folder's permissions or choose another"):
        RunFolder(tmp_path / "locked" / "run")


@pytest.mark.parametrize("number, words", [(28, "the disk is full"), (13, "you have no permission"),
                                           (30, "mounted read-only"), (122, "quota"), (5, "the system says: broken")])
def test_errors_of_the_system_say_what_to_do(number, words, tmp_path):
    with pytest.raises(InputError, match=f"can't write .*f.txt: .*{words}"):
        with atomic_write(tmp_path / "f.txt") as partial:
            partial.write_text("x")
            raise OSError(number, "broken")
    assert os.listdir(tmp_path) == []


def test_small_helpers(tmp_path):
    with atomic_write(tmp_path / "a" / "f.txt", make_folder=True) as partial:
        partial.write_text("x")
    with pytest.raises(InputError, match="f.txt exists already; choose another name or add --overwrite"):
        check_absent(tmp_path / "a" / "f.txt", overwrite=False)
    check_absent(tmp_path / "a" / "f.txt", overwrite=True)
    check_free_space(tmp_path, 1, "this")


def test_reading_a_run_in_progress(tmp_path):
    with pytest.raises(InputError, match="there is no run folder"):
        ResultFolder(tmp_path / "run")
    with RunFolder(tmp_path / "run") as run:
        result = ResultFolder(tmp_path / "run")
        assert (result.job(), result.summary(), result.history(), result.fsc(), result.newest_volume(),
                result.half_maps(), result.progress_volumes(), result.path("volume.mrc")) == \
            (None, None, [], None, None, None, [], None)
        assert result.writer() == os.getpid()
        for iteration in (0, 20, 100):
            write_volume(run.progress_path(iteration), np.zeros((4, 4, 4)), 1.0)
            run.append_history({"iteration": iteration})
        (run.path("progress") / ".volume_it0200.mrc.1.partial").write_text("half")
        assert [iteration for iteration, _ in result.progress_volumes()] == [0, 20, 100]
        assert result.newest_volume() == run.progress_path(100)
        assert [record["iteration"] for record in result.history()] == [0, 20, 100]
        write_fsc(run.path("fsc.star"), {"unmasked": [1, 0.5]}, box_size=4, pixel_size=1.0)
        for name in ("half1.mrc", "volume.mrc"):
            write_volume(run.path(name), np.zeros((4, 4, 4)), 1.0)
        assert result.newest_volume() == run.path("volume.mrc") and result.half_maps() is None
        write_volume(run.path("half2.mrc"), np.zeros((4, 4, 4)), 1.0)
        assert result.half_maps() == (run.path("half1.mrc"), run.path("half2.mrc"))
        assert result.fsc()["rlnFourierShellCorrelationUnmaskedMaps"].tolist() == [1.0, 0.5]
