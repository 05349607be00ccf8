# SPDX-License-Identifier: BSD-2-Clause
"""The outer end of the serial line."""
import os
import socket
import sys
import termios
import tty

from spillway_run.common import MIB


class Output:
    """Where the serial line goes: `-`, a file, or a socket that one client at a time connects to."""

    def __init__(self, where):
        self.file = self.listener = self.client = None
        self.backlog = b""  # for a client that is not there yet
        self.input_fd = None
        self.saved_terminal = None
        if where == "-":
            self.file = sys.stdout.buffer
            self._open_terminal()
        elif where.startswith("unix:"):
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(where[5:])
            self.listener.listen(1)
            self.path = where[5:]
        else:
            self.file = open(where, "wb")

    def _open_terminal(self):
        self.input_fd = sys.stdin.fileno()
        if os.isatty(self.input_fd):
            print("spillway run: Ctrl-A x ends the emulator", file=sys.stderr)
            self.saved_terminal = termios.tcgetattr(self.input_fd)
            tty.setraw(self.input_fd)

    def sources(self):
        fds = [self.listener, self.client, self.input_fd]
        return [fd for fd in fds if fd is not None]

    def write(self, data):
        if self.file is not None:
            self.file.write(data)
            self.file.flush()
        elif self.client is not None:
            self._send(data)
        else:
            self.backlog = (self.backlog + data)[-4 * MIB:]

    def _send(self, data):
        try:
            self.client.sendall(data)
        except OSError:
            self._drop_client()

    def _drop_client(self):
        self.client.close()
        self.client = None

    def read(self, source):
        """Bytes typed, for the emulator."""
        if source is self.listener:
            client, _ = self.listener.accept()
            if self.client is not None:
                self._drop_client()
            self.client = client
            backlog, self.backlog = self.backlog, b""
            self._send(backlog)
            return b""
        if source is self.client and self.client is not None:
            try:
                data = self.client.recv(4096)
            except OSError:
                data = b""
            if not data:
                self._drop_client()
            return data
        if source == self.input_fd and self.input_fd is not None:
            data = os.read(self.input_fd, 4096)
            if not data:
                self.input_fd = None
            return data
        return b""

    def close(self):
        if self.saved_terminal is not None:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self.saved_terminal)
        if self.client is not None:
            self.client.close()
        if self.listener is not None:
            self.listener.close()
            os.unlink(self.path)
        if self.file is not None and self.file is not sys.stdout.buffer:
            self.file.close()
