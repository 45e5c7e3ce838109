#!/usr/bin/env python3
"""Draws docs/session.svg: runs a session in three terminals of a tmux server of its own, and draws what they show.

Usage: python3 docs/session.py [PATH-OF-FUGUE-SERVER]
"""

import html, os, pathlib, re, subprocess, sys, tempfile, time

DOCS = pathlib.Path(__file__).resolve().parent
PROGRAM = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else DOCS.parent / "target/debug/fugue-server").resolve()

# Each terminal: its title, its place and its size in characters. Then what is typed into which, in this order.
TERMINALS = {"one": ("terminal 1", 0, 0, 47, 9), "two": ("terminal 2", 49, 0, 47, 9), "three": ("terminal 3", 0, 11, 96, 8)}
KEYS = [
    ("one", "fugue-server new work"),
    ("one", "ls"),
    ("one", "grep -n --color=always hello src/*"),
    ("two", "fugue-server attach work"),
    ("two", "echo typed in terminal 2"),
    ("three", "fugue-server list"),
    ("three", "fugue-server new count -- seq 1000000 | wc -l"),
    ("three", "printf 'echo typed by a script\\n' | fugue-server send work"),
]
SHELL = r"""
PS1='\[\e[1;32m\]$\[\e[0m\] '
[ -z "$FUGUE_SESSION" ] || PS1='\[\e[1;36m\]work $\[\e[0m\] '
unset HISTFILE
alias ls='ls --color=always'
"""
NORMAL, BACK, FRAME, DIM = "#d0d4da", "#1b1e24", "#30353d", "#8b929c"
COLOURS = ["#4b5160", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", NORMAL]
WIDTH, HEIGHT, SIZE = 8.2, 18, 13.6  # of a character, a line and the font, in pixels


def capture(place):
    """Runs the session in `place`, and returns each terminal's lines with their escape sequences."""
    for directory in ("home/demo/src", "home/demo/tests", "bin"):
        (place / directory).mkdir(parents=True)
    (place / "home/.bashrc").write_text(SHELL)
    (place / "home/demo/src/main.rs").write_text('fn main() {\n    println!("hello");\n}\n')
    (place / "home/demo/README.md").touch()
    (place / "bin/fugue-server").symlink_to(PROGRAM)
    env = {"PATH": f"{place}/bin:{os.environ['PATH']}", "HOME": f"{place}/home", "SHELL": "/bin/bash", "TERM": "xterm-256color",
           "LANG": "C.UTF-8", "FUGUE_SOCKET": f"{place}/fugue/server.sock", "TMUX_TMPDIR": str(place)}

    def tmux(*words):
        run = subprocess.run(["tmux", "-f", "/dev/null", *words], env=env, cwd=place / "home/demo", check=True, capture_output=True)
        return run.stdout.decode()

    server = subprocess.Popen([PROGRAM, "serve"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for name, (_, _, _, columns, rows) in TERMINALS.items():
            tmux("new-session", "-d", "-s", name, "-x", str(columns), "-y", str(rows), "bash")
            tmux("set", "-t", name, "status", "off")
            tmux("resize-window", "-t", name, "-x", str(columns), "-y", str(rows))
        for name, line in KEYS:
            time.sleep(1.5)
            tmux("send-keys", "-t", name, "-l", line)
            tmux("send-keys", "-t", name, "Enter")
        time.sleep(3)
        return {name: tmux("capture-pane", "-p", "-e", "-t", name).splitlines() for name in TERMINALS}
    finally:
        tmux("kill-server")
        server.terminate()
        server.wait()


def words(lines):
    """Cuts lines into pieces without wide gaps: each one's line, column, text, colour and weight."""
    colour, bold = NORMAL, False
    for number, line in enumerate(lines):
        column = 0
        for text, sgr in re.findall(r"([^\x1b]+)|\x1b\[([\d;]*)m", line):
            for piece in re.finditer(r"\S+(?: \S+)*", text):
                yield number, column + piece.start(), piece.group(), colour, bold
            column += len(text)
            for code in [] if text else map(int, (sgr or "0").split(";")):
                if code in (0, 39):
                    colour = NORMAL
                if code in (0, 1):
                    bold = code == 1
                if 30 <= code <= 37:
                    colour = COLOURS[code - 30]


def draw(screens):
    body = []
    for name, (title, column, row, columns, rows) in TERMINALS.items():
        x, y = 4 + column * WIDTH, 4 + row * HEIGHT + (8 if row else 0)
        body.append(f'<rect x="{x:.1f}" y="{y}" width="{columns * WIDTH + 12:.1f}" height="{rows * HEIGHT + 28}" rx="6" fill="{BACK}" stroke="{FRAME}"/>')
        body.append(f'<text x="{x + 8:.1f}" y="{y + 15}" fill="{DIM}" font-size="11">{title}</text>')
        for number, at, text, colour, bold in words(screens[name]):
            weight = ' font-weight="bold"' if bold else ""
            body.append(
                f'<text x="{x + 6 + at * WIDTH:.1f}" y="{y + 36 + number * HEIGHT}" fill="{colour}"{weight} '
                f'textLength="{len(text) * WIDTH:.1f}">{html.escape(text)}</text>'
            )
    width, height = 96 * WIDTH + 20, 19 * HEIGHT + 46
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}" font-family="ui-monospace, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="{SIZE}">'
    return "\n".join([head, *body, "</svg>"]) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        (DOCS / "session.svg").write_text(draw(capture(pathlib.Path(place))))
