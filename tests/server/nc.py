#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the nc example does with its standard input, be it a pipe, a file, a terminal or nothing, and with its peer.

    nc.py PROGRAM
"""
import os
import pathlib
import pty
import signal
import socket
import subprocess
import sys
import termios
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from programs import PATIENCE, Echo, main, read_to_end  # noqa: E402

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else None


class Nc(unittest.TestCase):
    def setUp(self):
        self.started = []

    def tearDown(self):
        for each in self.started:
            if each.poll() is None:
                each.kill()
            each.wait(PATIENCE)
            for pipe in (each.stdin, each.stdout, each.stderr):
                if pipe:
                    pipe.close()

    def start(self, *arguments, **options):
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        made = subprocess.Popen([PROGRAM, *map(str, arguments)], **options)
        self.started.append(made)
        return made

    def listening(self, **options):
        """One that listens, and a connection to it."""
        made = self.start("-l", 0, **options)
        port = int(made.stderr.readline().rsplit(b":", 1)[1])
        peer = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.addCleanup(peer.close)
        return made, peer

    def terminal(self):
        try:
            ends = pty.openpty()
        except OSError as error:
            self.skipTest(f"no terminal is to be had here: {error}")
        for each in ends:
            self.addCleanup(os.close, each)
        return ends

    def test_pipe(self):
        """what comes from a pipe goes there and back, all of it, and the end of it ends both"""
        text = os.urandom(3_000_000)
        echo = Echo()
        self.addCleanup(echo.close)
        said, errors = self.start("127.0.0.1", echo.port).communicate(text, timeout=PATIENCE)
        self.assertEqual(errors, b"")
        self.assertTrue(said == text)

    def test_file_and_nothing(self):
        """a file is sent from where it stands; /dev/null is an end at once"""
        echo = Echo()
        self.addCleanup(echo.close)
        with open(__file__, "rb") as file:
            file.seek(10)
            said, _ = self.start("127.0.0.1", echo.port, stdin=file).communicate(timeout=PATIENCE)
        self.assertEqual(said, pathlib.Path(__file__).read_bytes()[10:])
        said, _ = self.start("127.0.0.1", echo.port, stdin=subprocess.DEVNULL).communicate(timeout=PATIENCE)
        self.assertEqual(said, b"")

    def test_half_close(self):
        """the end of the input is passed on, and the answer that comes after it is printed"""
        made, peer = self.listening()
        made.stdin.write(b"question")
        made.stdin.close()
        self.assertEqual(read_to_end(peer), b"question")
        peer.sendall(b"answer")
        peer.shutdown(socket.SHUT_WR)
        self.assertEqual(made.stdout.read(), b"answer")
        self.assertEqual(made.wait(PATIENCE), 0)

    def test_peer_ends(self):
        """when the other side ends nc does, though its input has not"""
        made, peer = self.listening()
        peer.sendall(b"that is all")
        peer.shutdown(socket.SHUT_WR)
        self.assertEqual(made.stdout.read(), b"that is all")
        self.assertEqual(made.wait(PATIENCE), 0)

    def test_terminal(self):
        """lines that are typed are sent one by one, ^D ends them, and the terminal's modes are left alone"""
        keyboard, line = self.terminal()
        before = termios.tcgetattr(line)
        blocking = os.get_blocking(line)
        made, peer = self.listening(stdin=line)
        os.write(keyboard, b"one\n")
        self.assertEqual(peer.recv(100), b"one\n")
        os.write(keyboard, b"two\n")
        self.assertEqual(peer.recv(100), b"two\n")
        self.assertEqual((termios.tcgetattr(line), os.get_blocking(line)), (before, blocking))
        os.write(keyboard, b"\x04")
        self.assertEqual(peer.recv(100), b"")
        peer.close()
        self.assertEqual(made.wait(PATIENCE), 0)

    def test_next_line_is_the_shells(self):
        """a line that is typed when nc has ended goes to whoever reads next"""
        keyboard, line = self.terminal()
        made, peer = self.listening(stdin=line)
        peer.close()
        self.assertEqual(made.wait(PATIENCE), 0)
        os.write(keyboard, b"for the shell\n")
        self.assertEqual(os.read(line, 100), b"for the shell\n")

    def test_ctrl_c(self):
        """SIGINT ends it, as a success"""
        made, peer = self.listening()
        made.send_signal(signal.SIGINT)
        self.assertEqual(made.wait(PATIENCE), 0)
        self.assertEqual(peer.recv(100), b"")

    def test_nobody_there(self):
        """where nobody listens it says so, and fails"""
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
        _, errors = self.start("127.0.0.1", port).communicate(timeout=PATIENCE)
        self.assertIn(b"nc: ", errors)
        self.assertEqual(self.started[-1].returncode, 1)

    def test_wrong_arguments(self):
        """wrong arguments are told, with status 2"""
        for arguments in ([], ["127.0.0.1"], ["127.0.0.1", "x"], ["127.0.0.1", "99999"], ["a", "1", "b"]):
            made = self.start(*arguments)
            self.assertIn(b"usage", made.communicate(timeout=PATIENCE)[1])
            self.assertEqual(made.returncode, 2)


if __name__ == "__main__":
    main(1)
