# A program shown by pyxtermjs, as its own command does it. Says on which port.
import socket
import sys

from pyxtermjs import app

with socket.socket() as chosen:
    chosen.bind(("127.0.0.1", 0))
    port = chosen.getsockname()[1]
app.app.config["cmd"] = sys.argv[1:]
print(f"127.0.0.1:{port}", flush=True)
sys.stdout = sys.stderr
app.socketio.run(app.app, port=port, host="127.0.0.1")
