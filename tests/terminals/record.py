#!/usr/bin/env python3
"""Records what real programs print at a terminal of 80x24 and one of 120x40, into corpus/.

    python3 tests/terminals/record.py [PART OF A NAME ...]

Needs the programs: apt-get install vim neovim emacs-nox nano less htop mc tmux screen zsh fish git dialog ncurses-bin vttest
Each runs in namespaces of its own, as root, with its own host name, home and processes, so that nothing of this machine
is in a recording. Its questions are answered as xterm does. Recordings are repeatable as far as the programs are.
"""
import fcntl, gzip, os, pty, re, select, signal, struct, subprocess, sys, tempfile, termios, time

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "corpus")
SIZES = [(80, 24), (120, 40)]
HOME = "/tmp/home"          # a file system of its own is mounted there
LIMIT = 100_000             # bytes of a recording, before it is compressed
QUIET = 0.25                # seconds without output after which a program waits

ANSWERS = [                 # what xterm answers
    (rb"\x1b\[0?c", b"\x1b[?64;1;2;6;9;15;16;17;18;21;22;28c"),
    (rb"\x1b\[>0?c", b"\x1b[>41;372;0c"),
    (rb"\x1b\[=0?c", b"\x1bP!|00000000\x1b\\"),
    (rb"\x1b\[5n", b"\x1b[0n"),
    (rb"\x1b\[6n", b"\x1b[1;1R"),
    (rb"\x1b\[>0?q", b"\x1bP>|XTerm(372)\x1b\\"),
    (rb"\x1b\[\?u", b"\x1b[?0u"),
    (rb"\x1b\]10;\?(?:\x07|\x1b\\)", b"\x1b]10;rgb:0000/0000/0000\x1b\\"),
    (rb"\x1b\]11;\?(?:\x07|\x1b\\)", b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\"),
    (rb"\x1b\[\?(\d+)\$p", lambda found: b"\x1b[?" + found[1] + b";2$y"),
    (rb'\x1bP\$q"p\x1b\\', b'\x1bP1$r64;1"p\x1b\\'),
]

def files():
    """The home that programs find: text, sources, a repository."""
    def write(name, text):
        path = os.path.join(HOME, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
    for shell in (".bashrc", ".zshrc"):
        write(shell, "PS1='\\$ '\n" if shell == ".bashrc" else "PROMPT='%# '\nunsetopt PROMPT_SP\n")
    write(".config/fish/config.fish", "function fish_prompt; echo -n '> '; end\nset -g fish_greeting\n")
    write("words.txt", "".join(f"{n:4} the quick brown fox jumps over the lazy dog\n" for n in range(1, 301)))
    write("mixed.txt", "plain\nwide 漢字かな交じり文\ncombining e\u0301a\u0308\nemoji \u2764\ufe0f \U0001f468\u200d\U0001f469\u200d\U0001f467\n\ttabs\there\n" + "long " * 60 + "\n\u2500\u2502\u250c\u2510\u2514\u2518\n" * 12)
    write("main.rs", 'use std::io;\n\n/// Says hello.\nfn main() -> io::Result<()> {\n' + "".join(f'    println!("line {n}: {{}}", {n} * 2); // a comment\n' for n in range(60)) + "    Ok(())\n}\n")
    # No meters: they would show this machine.
    write(".config/htop/htoprc", "htop_version=3.2.2\nconfig_reader_min_version=3\nfields=0 48 17 18 2 49 1\nheader_layout=one_100\ncolumn_meters_0=Hostname\ncolumn_meter_modes_0=2\nscreen:Main=PID USER PRIORITY NICE STATE Command\n")
    # Nor dates, which the panels of a directory that mc itself makes would have.
    write(".config/mc/panels.ini", "".join(f"[New {panel} Panel]\nlist_format=brief\nbrief_cols=2\n" for panel in ("Left", "Right")))
    write(".gitconfig", "[user]\n\tname = Nobody\n\temail = nobody@example.com\n[core]\n\tpager = less -R\n[color]\n\tui = always\n[init]\n\tdefaultBranch = main\n")
    dates = {"GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z"}
    run = lambda *words: subprocess.run(words, cwd=HOME + "/repository", env={**environment(), **dates}, check=True, stdout=subprocess.DEVNULL)
    os.makedirs(HOME + "/repository")
    run("git", "init", "-q")
    for number in range(12):
        write("repository/file.txt", "".join(f"line {n} of version {number if n % 5 == 0 else 0}\n" for n in range(40)))
        run("git", "add", ".")
        run("git", "commit", "-q", "-m", f"change {number}: some words")

    # Listings have no date of today.
    for directory, names, found in os.walk(HOME):
        for name in names + found:
            os.utime(os.path.join(directory, name), (1704067200, 1704067200))

def environment():
    return {"HOME": HOME, "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/games", "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8",
            "SHELL": "/bin/bash", "USER": "nobody", "LOGNAME": "nobody", "TZ": "UTC", "COLORTERM": "truecolor", "LESSHISTFILE": "-", "HISTFILE": "/dev/null"}

def record(command, keys, size, term=None, nameless=False):
    """Runs a command and types the keys one after the other, each once it waits. What it prints, up to LIMIT. A nameless
    terminal says that it is a plain VT100, and so is not sent what few others know."""
    cols, rows = size
    child, master = pty.fork()
    if child == 0:
        os.chdir(HOME)
        os.execvpe("/bin/sh", ["sh", "-c", command], {**environment(), **({"TERM": term} if term else {})})
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, cols * 8, rows * 16))
    os.kill(child, signal.SIGWINCH)
    printed, asked = b"", 0
    def answer():
        nonlocal asked
        found = []
        for pattern, reply in ANSWERS:
            if nameless:
                reply = {b"\x1b[?6": b"\x1b[?1;2c", b"\x1b[>4": b"\x1b[>0;95;0c"}.get(reply[:4] if isinstance(reply, bytes) else None, reply)
                if b"XTerm" in (reply if isinstance(reply, bytes) else b""):
                    continue
            for match in re.finditer(pattern, printed[asked:]):
                found.append((match.start(), match.end(), reply(match) if callable(reply) else reply))
        for start, end, reply in sorted(found, key=lambda one: one[0]):
            os.write(master, reply)
        if found:
            asked += max(end for _, end, _ in found)
    def read(quiet):
        nonlocal printed
        end = time.time() + 8
        while time.time() < end and len(printed) < LIMIT:
            if not select.select([master], [], [], quiet)[0]:
                return True
            try:
                data = os.read(master, 65536)
            except OSError:
                return False
            if not data:
                return False
            printed += data
            answer()
        return True
    alive = read(1.5)
    for key in keys:
        if not alive or len(printed) >= LIMIT:
            break
        if key is WAIT:
            alive = read(2)
            continue
        try:
            os.write(master, key.encode() if isinstance(key, str) else key)
        except OSError:
            break
        alive = read(QUIET)
    try:
        os.kill(child, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.close(master)
    os.waitpid(child, 0)
    return printed[:LIMIT]

WAIT = None                 # for a program that first looks at its terminal for long
UP, DOWN, RIGHT, LEFT, PAGE, ESC, ENTER = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b[6~", "\x1b", "\r"

# A list of processes has none but these.
ALONE = "exec unshare --pid --fork --mount-proc sh -c 'sleep 1000 & sleep 2000 & cat > /dev/null & exec "

PROGRAMS = {
    # name: (command, keys, terminal type or None, whether the terminal is nameless)
    "vim": ("vim -N -n -i NONE -u NONE -c 'syntax on|set number mouse=a ruler hlsearch' main.rs",
            ["/line", ENTER, "n", "n", ":split mixed.txt" + ENTER, PAGE, "\x17w", "\x06", "\x06", "dd", "u", "ihello ", "\x1b", ":vsplit words.txt" + ENTER, "\x06", "\x06", "v", "jj", "\x1b",
             ":set nonumber|set list" + ENTER, "G", "gg", ":terminal" + ENTER, "ls" + ENTER, "exit" + ENTER, ":qa!" + ENTER]),
    "nvim": ("nvim -n -i NONE -u NONE main.rs",
             ["/line", ENTER, "n", ":split mixed.txt" + ENTER, PAGE, "\x17w", "\x06", "\x06", "dd", "u", "ihello ", "\x1b", ":vsplit words.txt" + ENTER, "\x06", "\x06", ":qa!" + ENTER]),
    "emacs": ("emacs -nw -Q main.rs", ["\x16", "\x16", "\x13line", "\x13", ENTER, "\x183", "\x182", "\x18o", "\x18\x06mixed.txt" + ENTER, "\x16", "\x1bx", "list-faces-display" + ENTER, "\x181", "\x16", "\x18\x03"]),
    "nano": ("nano -I mixed.txt", [DOWN, DOWN, "typed ", "\x0e", "\x16", "\x16", "\x19", "\x17quick" + ENTER, "\x07", "\x18", "\x18", "n"]),
    "less": ("less -N words.txt", [" ", " ", "b", "j", "j", "k", "/fox" + ENTER, "n", "G", "g", "d", "u", "h", "q", "q"]),
    "less-mixed": ("less -R mixed.txt", [" ", "-S" + ENTER, "g", RIGHT, RIGHT, LEFT, " ", "q"]),
    "htop": (ALONE + "htop --no-color'", [DOWN, DOWN, "t", "\x1bOQ", ESC, DOWN, DOWN, "\x1bOR", "sh", ESC, "\x1b", "q"]),
    "htop-colour": (ALONE + "htop'", [DOWN, "\x1bOQ", DOWN, DOWN, RIGHT, DOWN, "q", "q"]),
    "mc": ("mc -x --nosubshell", [DOWN, DOWN, "\t", DOWN, "\x1bOR", PAGE, "\x1b0", "\x1b9", RIGHT, DOWN, "\x1b\x1b", "\x1b0", ENTER]),
    "tmux": ("tmux -L record -f /dev/null new-session 'PS1=\"$ \" bash --norc'",
             ["ls" + ENTER, "seq 1 60" + ENTER, "\x02%", "seq 1 80" + ENTER, "\x02\"", "cat mixed.txt" + ENTER, "\x02o", "seq 100 140" + ENTER, "\x02[", "\x1b[5~", "\x1b[5~", "q", "\x02z", "\x02z",
              "\x02c", "less words.txt" + ENTER, " ", "q", "\x02p", "\x02d"]),
    "screen": ("screen -c /dev/null -s /bin/bash", [" ", "seq 1 60" + ENTER, "\x01S", "\x01\t", "\x01c", "seq 1 80" + ENTER, "cat mixed.txt" + ENTER, "\x01|", "\x01\t", "\x01c", "seq 7 70" + ENTER, "\x01[", "\x02", "\x02", ESC, "\x01d"]),
    "bash": ("bash", ["ls -la --color words.txt main.rs" + ENTER, "cat mixed.txt" + ENTER, "echo " + "long " * 40, "\x01", "\x1bf\x1bf", "\x0b", ENTER, "seq 1 100" + ENTER, "ec\t\t", "\x12seq", ENTER, "clear" + ENTER, "tabs 4; printf 'a\\tb\\n'" + ENTER, "exit" + ENTER]),
    "zsh": ("zsh", ["cat mixed.txt" + ENTER, "ls -\t\t", "\x03", "ec\t\t", "\x03", "echo " + "long " * 40, "\x01", "\x0b", ENTER, "seq 1 100" + ENTER, "exit" + ENTER]),
    "fish": ("fish", ["cat mixed.txt" + ENTER, "ls -\t\t", "\x1b", "\x03", "ec", "\t", "\x03", "echo " + "long " * 40, "\x01", "\x0b", ENTER, "seq 1 100" + ENTER, "exit" + ENTER]),
    "git-log": ("cd repository && git log -p", [" ", " ", "/version" + ENTER, "n", "b", "q"]),
    "git-add": ("cd repository && seq 1 30 > file.txt && git add -p", ["?" + ENTER, "n" + ENTER, "q" + ENTER]),
    "dialog": ("dialog --menu 'choose one' 15 50 5 1 one 2 two 3 three 4 four; dialog --checklist 'some' 15 50 5 1 one on 2 two off; dialog --gauge wait 8 40 30 < /dev/null; dialog --textbox words.txt 20 60; dialog --calendar day 0 0 1 1 2024",
               [DOWN, DOWN, ENTER, " ", DOWN, " ", ENTER, PAGE, PAGE, ENTER, LEFT, UP, ENTER]),
}
# Panes side by side, once with margins at the sides and once without.
PROGRAMS["tmux-nameless"] = (*PROGRAMS["tmux"], None, True)
for term in ["xterm-256color", "xterm", "vt100", "vt220", "vt420", "linux", "screen-256color", "tmux-256color", "rxvt-unicode-256color", "alacritty", "kitty"]:
    PROGRAMS["tput-" + term] = (
        "for c in is1 is2 is3 rs1 rs2 rs3; do printf before; tput $c; printf '%s after\\n' $c; done; for c in smcup 'csr 3 9' sc 'cup 5 5' smso bold smul rev dim blink invis sitm smacs 'setaf 3' 'setab 4' sgr0 rc ind ri il1 dl1 'ich 3' 'dch 3' 'ech 5' "
        "'rep x 5' smir rmir smkx rmkx civis cvvis cnorm hts tbc smam rmam ed el el1 rmacs rmul rmso op 'indn 2' 'rin 2' 'cup 3 3' rmcup; do printf \"$c:\"; tput $c; printf 'xyz\\t|'; done; tput init; echo initial; tput reset; echo reset",
        [], term)
# vttest's menus: cursor movements, screen features, character sets, double size, VT52, bugs, reset, and the VT220's and xterm's pages.
NEXT = [ENTER] * 14
for page, keys in {
    "1-cursor": ["1" + ENTER] + NEXT, "2-screen": ["2" + ENTER] + NEXT * 2, "3-charsets": ["3" + ENTER, "8" + ENTER] + NEXT, "6-reports": ["6" + ENTER, "3" + ENTER] + NEXT[:6], "8-editing": ["8" + ENTER] + NEXT * 2,
    "9-bugs": ["9" + ENTER, "1" + ENTER] + NEXT, "10-reset": ["10" + ENTER, "1" + ENTER] + NEXT, "11-1-vt220": ["11" + ENTER, "1" + ENTER, "2" + ENTER, "1" + ENTER] + NEXT, "11-2-vt320": ["11" + ENTER, "2" + ENTER, "2" + ENTER] + NEXT,
    "11-3-vt420": ["11" + ENTER, "3" + ENTER, "2" + ENTER] + NEXT, "11-5-iso6429": ["11" + ENTER, "5" + ENTER, "2" + ENTER] + NEXT, "11-6-colours": ["11" + ENTER, "6" + ENTER, "2" + ENTER] + NEXT, "11-8-xterm": ["11" + ENTER, "8" + ENTER, "7" + ENTER] + NEXT,
}.items():
    PROGRAMS["vttest-" + page] = ("vttest %ROWS%x%COLS%.%COLS%", [WAIT, *keys])

def inside(wanted):
    """In the namespaces: with a home and host name of its own."""
    subprocess.run(["hostname", "host"], check=True)
    os.makedirs(HOME, exist_ok=True)
    for name, (command, keys, *term) in PROGRAMS.items():
        if wanted and not any(part in name for part in wanted):
            continue
        for cols, rows in SIZES:
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", HOME], check=True)
            files()
            filled = command.replace("%ROWS%", str(rows)).replace("%COLS%", str(cols))
            printed = record(filled, keys, (cols, rows), *term)
            target = os.path.join(CORPUS, f"{name}-{cols}x{rows}.gz")
            with open(target, "wb") as file:
                file.write(gzip.compress(printed, 9, mtime=0))
            print(f"{name} {cols}x{rows}: {len(printed)} bytes, {os.path.getsize(target)} compressed", flush=True)

if __name__ == "__main__":
    if os.environ.get("RECORDING") == "inside":
        inside(sys.argv[1:])
    else:
        os.makedirs(CORPUS, exist_ok=True)
        sys.exit(subprocess.run(["unshare", "--pid", "--fork", "--mount", "--mount-proc", "--uts", "--ipc", sys.executable, "-B", __file__, *sys.argv[1:]], env={**os.environ, "RECORDING": "inside"}).returncode)
