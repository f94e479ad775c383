"""How far a map can be believed: half-map curves, sharpening, model, local and directional resolution, sampling."""
