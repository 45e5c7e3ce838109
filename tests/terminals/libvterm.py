#!/usr/bin/env python3
"""A witness for margins at the sides, which xterm.js does not know: libvterm, through its C interface.

Speaks as witness.mjs does: a case a line in, what differs a line out. Compares cells and the cursor, nothing else.
"""
import ctypes, ctypes.util, json, re, sys

TOLD = 12
library = ctypes.CDLL(ctypes.util.find_library("vterm") or sys.exit("no libvterm"))
ATTRIBUTES = {"bold": 1, "underline": 2, "italic": 1, "blink": 1, "reverse": 1, "conceal": 1, "strike": 1}

class Position(ctypes.Structure):
    _fields_ = [("row", ctypes.c_int), ("col", ctypes.c_int)]

class Cell(ctypes.Structure):
    _fields_ = [("chars", ctypes.c_uint32 * 6), ("width", ctypes.c_char), ("attributes", ctypes.c_uint32),
                ("foreground", ctypes.c_uint8 * 4), ("background", ctypes.c_uint8 * 4)]

for name in ("vterm_new", "vterm_obtain_screen", "vterm_obtain_state"):
    getattr(library, name).restype = ctypes.c_void_p
library.vterm_screen_get_cell.argtypes = [ctypes.c_void_p, Position, ctypes.POINTER(Cell)]
library.vterm_output_read.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]

def apart(sequence):
    """Modes set by one sequence, each by its own: libvterm looks at the first of them only."""
    return b"".join(b"\x1b[?" + mode + sequence[2] for mode in sequence[1].split(b";"))

def show(columns, rows, steps):
    """What is shown in the end, by place."""
    terminal = ctypes.c_void_p(library.vterm_new(rows, columns))
    library.vterm_set_utf8(terminal, 1)
    screen = ctypes.c_void_p(library.vterm_obtain_screen(terminal))
    library.vterm_screen_enable_altscreen(screen, 1)
    library.vterm_screen_reset(screen, 1)
    answers = ctypes.create_string_buffer(65536)
    for step in steps:
        if isinstance(step, str):
            data = re.sub(rb"\x1b\[\?([\d;]+)([hl])", apart, step.encode("latin-1"))
            for at in range(0, len(data), 4096):
                library.vterm_input_write(terminal, data[at:at + 4096], ctypes.c_size_t(len(data[at:at + 4096])))
                library.vterm_output_read(terminal, answers, len(answers))
        else:
            library.vterm_set_size(terminal, step[1], step[0])
    found, cell = {}, Cell()
    for row in range(rows):
        for column in range(columns):
            library.vterm_screen_get_cell(screen, Position(row, column), ctypes.byref(cell))
            text = "".join(map(chr, (code for code in cell.chars if 0 < code < 0x110000))) or " "
            looks, bits = [], cell.attributes
            for attribute, width in ATTRIBUTES.items():
                if bits & ((1 << width) - 1) and (text != " " or attribute in ("underline", "reverse", "strike")):
                    looks.append(attribute)
                bits >>= width
            # Nobody sees the colour of a space but that of its background.
            colours = [bytes(cell.foreground).hex() if text != " " or looks else "", bytes(cell.background).hex()]
            found[f"row {row + 1} column {column + 1}"] = " ".join([text, *looks, *colours])
    place = Position()
    library.vterm_state_get_cursorpos(ctypes.c_void_p(library.vterm_obtain_state(terminal)), ctypes.byref(place))
    found["cursor"] = f"{place.row + 1};{place.col + 1}"
    library.vterm_free(terminal)
    return found

print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    expected, actual = (show(asked["cols"], asked["rows"], asked[which]) for which in ("expected", "actual"))
    differences = [f"{place}: {text!r} expected, {actual[place]!r} shown" for place, text in expected.items() if text != actual[place]]
    print(json.dumps({"name": asked["name"], "count": len(differences), "differences": differences[:TOLD]}), flush=True)
