"""Where Python lets an exception of another thread, or of a signal's handler, into code."""

import dis
import linecache


def leaves_a_block(frame):
    """Whether a frame is about to leave a `with` block, where Python lets no asynchronous exception in."""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
    step = dis.opname[frame.f_code.co_code[frame.f_lasti]]
    return line.startswith("with ") and step in ("LOAD_CONST", "SWAP", "ROT_TWO", "NOP", "POP_BLOCK")
