"""Frames as they go out, byte for byte."""

import pytest
from websockets.frames import Frame, Opcode

from app.core.http.frames import text_frame


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 70_000])
def test_a_text_frame_is_what_rfc_6455_says(length: int) -> None:
    payload = b"x" * length

    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
