#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The chat room from outside: who hears whom, and what becomes of a member that does not listen.

    chat.py PROGRAM
"""
import pathlib
import re
import socket
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from programs import Program, main, reset  # noqa: E402


class Member:
    """A connection that speaks and hears lines."""

    def __init__(self, room, name, receive_bytes=None):
        self.socket = room.connect(receive_bytes)
        self.lines = self.socket.makefile("r", encoding="utf-8", newline="\n")
        self.name = name
        self.say(name)

    def say(self, text):
        self.socket.sendall(f"{text}\n".encode())

    def hears(self):
        return self.lines.readline().rstrip("\n")

    def leave(self):
        self.lines.close()
        self.socket.close()


class Chat(unittest.TestCase):
    def setUp(self):
        self.room = Program(sys.argv[1], "0")
        self.addCleanup(self.room.kill)

    def tearDown(self):
        self.room.has_closed_all()
        self.assertEqual(self.room.stop()[0], 0)

    def member(self, name, receive_bytes=None):
        made = Member(self.room, name, receive_bytes)
        self.assertEqual(made.hears(), f"* {name} comes in")
        return made

    def test_room(self):
        """all others hear what a member says, who comes and who leaves"""
        ann, ben = self.member("ann"), self.member("ben")
        self.assertEqual(ann.hears(), "* ben comes in")
        cid = self.member("cid")
        for each in (ann, ben):
            self.assertEqual(each.hears(), "* cid comes in")

        ann.say("good morning")
        ben.say("is it?")

        self.assertEqual(ben.hears(), "ann: good morning")
        self.assertEqual(ann.hears(), "ben: is it?")
        self.assertEqual({cid.hears(), cid.hears()}, {"ann: good morning", "ben: is it?"})
        ben.leave()
        for each in (ann, cid):
            self.assertEqual(each.hears(), "* ben has left")
            each.leave()

    def test_vanishing(self):
        """a member that resets its connection, or says nothing but half a name, is gone like any other"""
        ann, ben = self.member("ann"), self.member("ben")
        self.assertEqual(ann.hears(), "* ben comes in")
        nameless = self.room.connect()
        nameless.sendall(b"dor")
        reset(nameless)
        ben.lines.close()
        reset(ben.socket)
        self.assertEqual(ann.hears(), "* ben has left")
        ann.leave()

    def test_endless_line(self):
        """a line that does not end is too long for the room, which takes no more of it"""
        ann, ben = self.member("ann"), self.member("ben")
        self.assertEqual(ann.hears(), "* ben comes in")
        ben.socket.sendall(b"x" * 3000)
        self.assertEqual(ann.hears(), "* ben has left")
        ann.leave()
        ben.leave()

    def test_slow_member(self):
        """a member that does not read misses lines and is told how many; nobody waits for it"""
        slow, fast = self.member("slow", receive_bytes=4096), self.member("fast")
        lines_count = 9000
        with self.room.connect() as speaking:
            speaking.sendall(b"mad\n")
            speaking.settimeout(None)
            self.assertEqual(fast.hears(), "* mad comes in")
            # In step with one that reads: whoever is slow is the one that does not.
            for number in range(0, lines_count, 100):
                speaking.sendall(b"".join(b"%d %s\n" % (each, b"x" * 1000) for each in range(number, number + 100)))
                for each in range(number, number + 100):
                    self.assertTrue(fast.hears().startswith(f"mad: {each} x"))
            speaking.shutdown(socket.SHUT_WR)
            self.assertEqual(fast.hears(), "* mad has left")

        heard_count = missed_count = 0
        while (line := slow.hears()) != "* mad has left":
            if notice := re.fullmatch(r"\* you have missed (\d+) lines", line):
                missed_count += int(notice[1])
            else:
                heard_count += line.startswith("mad: ")
        self.assertGreater(missed_count, 0)
        # Those that came and went besides may be among what was missed.
        self.assertIn(heard_count + missed_count, range(lines_count, lines_count + 3))
        slow.leave()
        fast.leave()


if __name__ == "__main__":
    main(1)
