"""Frames with known truth, and the same frames as files in mission format."""

from __future__ import annotations

from .jwst import write_s2d, write_truth
from .named import SCENES, make_scene
from .scene import Line, Scene, Truth, cramer_rao, pixel_profile, scene
from .survey import Member, survey, write_survey

__all__ = [
    "SCENES",
    "Line",
    "Member",
    "Scene",
    "Truth",
    "cramer_rao",
    "make_scene",
    "pixel_profile",
    "scene",
    "survey",
    "write_s2d",
    "write_survey",
    "write_truth",
]
