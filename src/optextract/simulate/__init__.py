"""Frames with known truth, and the same frames as files in mission format."""

from __future__ import annotations

from .jwst import write_s2d, write_truth
from .named import SCENES, make_scene
from .scene import Line, Scene, Truth, cramer_rao, pixel_profile, scene

__all__ = [
    "SCENES",
    "Line",
    "Scene",
    "Truth",
    "cramer_rao",
    "make_scene",
    "pixel_profile",
    "scene",
    "write_s2d",
    "write_truth",
]
