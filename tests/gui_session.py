"""Scipion's real project window inside a test: forms, buttons, dialogs and screenshots, without its main loop."""
from __future__ import annotations

import os
import time
import tkinter as tk
from pathlib import Path
from tkinter.font import Font

from matplotlib.text import Text
from PIL import ImageGrab
from pyworkflow.gui import Window, gui
from pyworkflow.gui.dialog import Dialog
from pyworkflow.protocol.params import LabelParam

from pyworkflow.gui.project import ProjectWindow  # isort: skip; before form, which it imports in a circle
from pyworkflow.gui.form import FormWindow

from cryosgd_plugin.tests.viewer_buttons import BUTTONS

GEOMETRY = "1300x900+0+0"
DIALOG_MS = 300


class GuiSession:
    """One open project window.

    windows : every Scipion window opened since, in order; dialogs : (title, text) of every dialog that came up
    errors : exceptions of Tk's callbacks, which Tk only prints; `pump` raises the first
    answers : {title of a dialog: text of the button to press}; any other dialog gets its default button
    until : {title of a dialog: function}; the button is not pressed before the function gives True
    """

    def __init__(self, project_path, screenshots, monkeypatch):
        self.screenshots = Path(screenshots)
        self.screenshots.mkdir(parents=True, exist_ok=True)
        self.windows, self.dialogs, self.answers, self.until, self.errors = [], [], {}, {}, []
        self._shots, self._seen = 0, set()
        # showing a window enters the main loop; here the test turns the loop by itself, in `pump`
        monkeypatch.setattr(tk.Misc, "mainloop", lambda widget, n=0: None)
        original = Window.__init__

        def record(window, *args, **kwargs):
            original(window, *args, **kwargs)
            self.windows.append(window)
        monkeypatch.setattr(Window, "__init__", record)
        self.window = ProjectWindow(str(project_path))
        self.window.show()
        self.root = self.window.root
        self.root.master.report_callback_exception = lambda kind, error, trace: self.errors.append(error)
        self.root.geometry(GEOMETRY)
        self.view = self.window.getViewWidget()
        self.root.after(DIALOG_MS, self._watch_dialogs)
        self.pump(1.0)

    def close(self):
        """Destroy all windows of the session."""
        hidden_root = self.root.master
        for pending in hidden_root.tk.eval("after info").split():
            hidden_root.tk.call("after", "cancel", pending)      # after_cancel would forget commands of others
        destroy_tk(hidden_root)

    def pump(self, seconds):
        """Let Tk work for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.root.update()
            if self.errors:
                raise self.errors.pop(0)
            time.sleep(0.01)

    def wait(self, condition, timeout, what):
        """Let Tk work until condition() is true; AssertionError with `what` after `timeout` seconds."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, f"{what} did not happen within {timeout} s"
            self.pump(0.2)

    def shot(self, name):
        """Save the screen as NN_name.png."""
        self.pump(0.4)
        self._shots += 1
        path = self.screenshots / f"{self._shots:02d}_{name}.png"
        ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).save(path)
        return path

    def tree_labels(self):
        """{protocol class name: label} of the protocol tree at the left, with their item ids in `tree_items`."""
        tree, found, waiting = self.view.protTree, {}, list(self.view.protTree.get_children())
        self.tree_items = {}
        while waiting:
            item = waiting.pop()
            waiting.extend(tree.get_children(item))
            name = item.split(".")[-1]
            if name.startswith("ProtCryosgd"):
                found[name] = tree.item(item, "text")
                self.tree_items[name] = item
        return found

    def open_from_tree(self, class_name):
        """Double-click a protocol in the tree; returns its form."""
        self.tree_labels()
        tree, item = self.view.protTree, self.tree_items[class_name]
        tree.see(item)
        self.pump(0.5)
        x, y, width, height = tree.bbox(item)
        before = len(self.windows)
        for event in ("<Motion>", *("<Button-1>", "<ButtonRelease-1>") * 2):      # Tk makes them a double click
            tree.event_generate(event, x=x + width // 2, y=y + height // 2)
        self.wait(lambda: len(self.windows) > before, 10, f"the form of {class_name}")
        return self.newest(FormWindow)

    def newest(self, window_class):
        """The window of this class that was opened last; AssertionError where there is none."""
        found = [window for window in self.windows if isinstance(window, window_class)]
        assert found, f"no {window_class.__name__} was opened; dialogs: {self.dialogs}"
        return found[-1]

    def texts(self, window):
        """The texts and labels that a window shows."""
        return list(_texts(window.root))

    def place(self, window, geometry):
        """Move and raise a window (there is no window manager on a bare X server)."""
        window.root.geometry(geometry)
        window.root.lift()
        self.pump(0.5)

    def fill(self, form, **values):
        """Type values into the fields of a form, through the widgets' variables."""
        for name, value in values.items():
            form.setVar(name, value)
        self.pump(0.3)

    def dialogs_shown(self):
        """The dialogs that wait for a button."""
        return _dialogs_below(self.root)

    def execute(self, form):
        """Press Execute; returns the protocol, which has been launched."""
        protocol = form.protocol
        form.btnExecute.invoke()
        self.pump(1.0)
        return protocol

    def refreshed(self, protocol):
        """The protocol as the project sees it now; its runs graph is refreshed."""
        self.view.refreshRuns(checkPids=True)
        return self.window.project.getProtocol(protocol.getObjId(), fromRuns=True)

    def wait_status(self, protocol, statuses, timeout):
        """Let Tk work until the protocol has one of the statuses; returns it as it then is."""
        end = time.monotonic() + timeout
        while True:
            now = self.refreshed(protocol)
            if now.getStatus() in statuses:
                return now
            assert time.monotonic() < end, f"{now} stayed '{now.getStatus()}' for {timeout} s"
            assert now.getStatus() not in ("failed", "aborted"), f"{now} {now.getStatus()}: {now.getErrorMessage()}"
            self.pump(1.0)

    def press(self, action, protocol):
        """Select a protocol in the graph and press a button of the project's toolbar."""
        self.view._selection.clear()
        self.view._selection.append(protocol.getObjId())
        self.view._updateSelection()
        self.pump(0.3)
        self.view._runActionClicked(action)
        self.pump(0.5)

    def open_eye(self, form, name):
        """Press the eye beside a line of a viewer's form; returns the window that it opens, with a screenshot of it."""
        before = len(self.windows)
        form.widgetDict[name]._visualizeVar()
        self.wait(lambda: len(self.windows) > before, 20, f"the window of {name}")
        opened = self.windows[-1]
        opened.root.lift()
        self.shot(name)
        return opened

    def told(self, form, name, words):
        """Press the eye beside a line of a viewer's form, which says in a message why there is nothing to show."""
        form.widgetDict[name]._visualizeVar()
        self.wait(lambda: any(words in text for _, text in self.dialogs), 10, f"the message of {name}")
        self.dialogs[:] = [(title, text) for title, text in self.dialogs if words not in text]

    def open_every_eye(self, form, hidden=(), empty=None):
        """Open what each button of a viewer's form opens; it shall have all BUTTONS but the hidden ones and no other.

        empty : {button: words of the message that comes instead of a window}
        """
        viewer = form.protocol
        wanted = BUTTONS[type(viewer).__name__]
        offered = [name for name, widget in form.widgetDict.items()
                   if isinstance(getattr(widget, "param", None), LabelParam) and viewer.evalParamCondition(name)]
        assert sorted(offered) == sorted(set(wanted) - set(hidden)), "viewer_buttons.BUTTONS says what each opens"
        for name in offered:
            if wanted[name] is None:
                continue
            if name in (empty or {}):
                self.told(form, name, empty[name])
                continue
            before, (window_class, words) = len(self.windows), wanted[name]
            self.open_eye(form, name)
            for opened in self.windows[before:]:        # some open one for each class
                assert type(opened).__name__ == window_class and words in words_of(opened), (name, words_of(opened))
                opened.close()

    def _watch_dialogs(self):
        """Answer dialogs, which block their caller until a button is pressed."""
        for dialog in self.dialogs_shown():
            text = " ".join(_texts(dialog))
            if not dialog.winfo_viewable():
                continue
            if str(dialog) not in self._seen:
                # it may still wait for its own visibility, and bears no closing before
                self._seen.add(str(dialog))
                continue
            if not self.until.get(dialog.title(), lambda: True)():
                continue
            self._shots += 1
            ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).save(self.screenshots / f"{self._shots:02d}_dialog.png")
            self.dialogs.append((dialog.title(), text))
            wanted = self.answers.get(dialog.title(), dialog.defaultButton)
            button = next(b for b in _widgets(dialog) if isinstance(b, tk.Button) and b.cget("text") == wanted)
            button.invoke()
        self.root.after(DIALOG_MS, self._watch_dialogs)


def words_of(window):
    """What stands in a viewer's window: the rows of a table, or all texts of a figure."""
    if hasattr(window, "texts"):
        return " | ".join(word for row in window.texts() for word in row)
    return " | ".join(text.get_text() for text in window.figure.findobj(Text) if text.get_text())


def keep_picture(name):
    """Save the screen as NAME.png in $CRYOSGD_SCREENSHOTS, where it is set."""
    folder = os.environ.get("CRYOSGD_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).save(Path(folder) / f"{name}.png")


def destroy_tk(hidden_root):
    """Destroy a Tk interpreter and what pyworkflow keeps of it for the whole process: images and fonts."""
    hidden_root.destroy()
    gui.image_cache.clear()
    for name in [name for name, value in vars(gui).items() if isinstance(value, Font)]:
        delattr(gui, name)


def _dialogs_below(widget):
    return [child for child in _widgets(widget) if isinstance(child, Dialog)]


def _widgets(widget):
    for child in widget.winfo_children():
        yield child
        yield from _widgets(child)


def _texts(widget):
    for child in _widgets(widget):
        if isinstance(child, tk.Text):
            yield child.get("1.0", tk.END).strip()
        elif isinstance(child, tk.Label) and child.cget("text"):
            yield child.cget("text")
