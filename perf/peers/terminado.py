# Programs shown by terminado, in terminals that all who ask for them share. Says on which port.
import asyncio
import json
import sys

from terminado import NamedTermManager, TermSocket
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

PROGRAMS = json.loads(sys.argv[1])


class Manager(NamedTermManager):
    def get_terminal(self, name):
        if name not in self.terminals:
            self.new_named_terminal(name=name, shell_command=PROGRAMS[int(name)])
        return self.terminals[name]


async def main():
    application = Application([(r"/(\d+)", TermSocket, {"term_manager": Manager(shell_command=[])})])
    sockets = bind_sockets(0, "127.0.0.1")
    HTTPServer(application).add_sockets(sockets)
    print(f"127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
