# SPDX-License-Identifier: BSD-2-Clause
"""A disk that fails, or is slow, when a test says so, for QEMU: an NBD server in a thread.

The protocol is that of the NBD project's "The NBD protocol", fixed newstyle negotiation and simple
replies, as much of it as QEMU's client asks for.
"""
import os
import socket
import struct
import tempfile
import threading

from machine import BUILD

EIO, ENOSPC = 5, 28
READ, WRITE, DISCONNECT, FLUSH = range(4)
HAS_FLAGS, SEND_FLUSH = 1, 4
OPTION_EXPORT_NAME, OPTION_ABORT, OPTION_INFO, OPTION_GO = 1, 2, 6, 7
REPLY_ACK, REPLY_INFO, REPLY_UNSUPPORTED = 1, 3, 1 << 31 | 1
OPTION_MAGIC, OPTION_REPLY_MAGIC = 0x49484156454F5054, 0x3E889045565A9
REQUEST_MAGIC, REPLY_MAGIC = 0x25609513, 0x67446698
BLOCK = 4096


class FaultyDisk:
    """`fails(op, first, blocks)`, which a test may replace at any time, gives the error number of a
    request for those 4 KiB blocks, or 0.  The failures are counted by op in `failed`.  `delays`, likewise,
    gives the seconds that it takes, beside all others."""

    def __init__(self, path):
        self.folder = tempfile.TemporaryDirectory(prefix="faulty-", dir=BUILD)
        self.path = os.path.join(self.folder.name, "socket")
        self.file = os.open(path, os.O_RDWR)
        self.size = os.lseek(self.file, 0, os.SEEK_END)
        self.fails = lambda op, first, blocks: 0
        self.delays = lambda op, first, blocks: 0
        self.failed = {READ: 0, WRITE: 0, FLUSH: 0}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.folder.cleanup()

    def qemu(self, device="nvme,serial=faulty", name="faulty"):
        """Words for tools/spillway run."""
        return [f"--qemu=-drive file=nbd+unix:///?socket={self.path},format=raw,if=none,id={name} "
                f"-device {device},drive={name}"]

    # ---- server ----

    def _accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        try:
            with peer:
                if self._negotiate(peer):
                    turn = threading.Lock()  # whose answer is being sent
                    while self._request(peer, turn):
                        pass
        except (ConnectionError, OSError, struct.error):
            pass

    @staticmethod
    def _take(peer, count):
        data = bytearray()
        while len(data) < count:
            part = peer.recv(count - len(data))
            if not part:
                raise ConnectionError
            data += part
        return bytes(data)

    def _negotiate(self, peer):
        """True: what follows are requests."""
        peer.sendall(b"NBDMAGIC" + struct.pack(">QH", OPTION_MAGIC, 3))
        self._take(peer, 4)
        while True:
            _, option, length = struct.unpack(">QII", self._take(peer, 16))
            self._take(peer, length)

            def reply(kind, data=b"", option=option):
                peer.sendall(struct.pack(">QIII", OPTION_REPLY_MAGIC, option, kind, len(data)) + data)

            if option == OPTION_EXPORT_NAME:
                peer.sendall(struct.pack(">QH", self.size, HAS_FLAGS | SEND_FLUSH))
                return True
            if option in (OPTION_GO, OPTION_INFO):
                reply(REPLY_INFO, struct.pack(">HQH", 0, self.size, HAS_FLAGS | SEND_FLUSH))
                reply(REPLY_ACK)
                if option == OPTION_GO:
                    return True
            elif option == OPTION_ABORT:
                reply(REPLY_ACK)
                return False
            else:
                reply(REPLY_UNSUPPORTED)

    @staticmethod
    def _answer(peer, turn, data):
        try:
            with turn:
                peer.sendall(data)
        except OSError:
            pass  # the machine has been switched off

    def _request(self, peer, turn):
        magic, _, op, handle, offset, length = struct.unpack(">IHHQQI", self._take(peer, 28))
        data = self._take(peer, length) if op == WRITE else b""
        if magic != REQUEST_MAGIC or op == DISCONNECT:
            return False
        which = (op, offset // BLOCK, -(-length // BLOCK))
        error, delay = self.fails(*which), self.delays(*which)
        if error:
            self.failed[op] += 1
        elif op == READ:
            data = os.pread(self.file, length, offset)
        elif op == WRITE:
            os.pwrite(self.file, data, offset)
        answer = (peer, turn, struct.pack(">IIQ", REPLY_MAGIC, error, handle) +
                  (data if op == READ and not error else b""))
        if delay:
            threading.Timer(delay, self._answer, answer).start()
        else:
            self._answer(*answer)
        return True
