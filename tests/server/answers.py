#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the file server answers: every status, conditions, ranges, names, and nothing from outside its folder.

    answers.py PROGRAM
"""
import email.utils
import os
import pathlib
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from http_server import ServerCase, main  # noqa: E402

LETTERS = bytes(range(97, 123))
MODIFIED = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT
MODIFIED_TEXT = "Sun, 06 Nov 1994 08:49:37 GMT"


class Files(ServerCase):
    @classmethod
    def fill(cls, folder):
        (folder / "letters.txt").write_bytes(LETTERS)
        os.utime(folder / "letters.txt", (MODIFIED, MODIFIED))
        (folder / "empty").write_bytes(b"")
        (folder / "large.bin").write_bytes(os.urandom(3_000_000))
        (folder / "a b & <c>.html").write_bytes(b"odd name")
        (folder / "fürth.txt").write_bytes(b"umlaut")
        (folder / "plain").mkdir()
        (folder / "plain" / "x<y>&\"z'").write_bytes(b"")
        (folder / "plain" / "sub").mkdir()
        (folder / "with index").mkdir()
        (folder / "with index" / "index.html").write_bytes(b"<p>index")
        (folder / "odd index" / "index.html").mkdir(parents=True)

    def test_get(self):
        """a file comes whole, with its type, length and date"""
        answer = self.get("/letters.txt")
        self.assertEqual((answer.status, answer.body), (200, LETTERS))
        self.assertEqual(answer.fields["content-type"], "text/plain; charset=utf-8")
        self.assertEqual(answer.fields["last-modified"], MODIFIED_TEXT)
        self.assertIsNotNone(email.utils.parsedate(answer.fields["date"]))
        self.assertEqual(self.get("/large.bin").body, (self.folder / "large.bin").read_bytes())
        self.assertEqual((self.get("/empty").status, self.get("/empty").body), (200, b""))

    def test_head(self):
        """HEAD has the fields of GET and no body, for files, pages and errors"""
        for target in ("/letters.txt", "/plain/", "/nothing", "/large.bin"):
            with self.server.client() as client:
                head = client.request(target, "HEAD")
                get = client.request(target)  # any byte of a body would stand before this
                for fields in (head.fields, get.fields):
                    del fields["date"]
                self.assertEqual((head.status, head.fields), (get.status, get.fields))

    def test_names(self):
        """names are decoded, and a query is no part of them"""
        self.assertEqual(self.get("/a%20b%20%26%20%3Cc%3e.html").body, b"odd name")
        self.assertEqual(self.get("/f%C3%BCrth.txt").body, b"umlaut")
        self.assertEqual(self.get("/letters.txt?a=b/../c").body, LETTERS)
        self.assertEqual(self.get("//plain/.././/letters.txt").body, LETTERS)
        self.assertEqual(self.get("http://test/letters.txt").body, LETTERS)
        self.assertEqual(self.get("http://test").status, 200)

    def test_folders(self):
        """a folder is its index, or a list with names escaped; without the slash it is elsewhere"""
        self.assertEqual(self.get("/with%20index/").body, b"<p>index")
        self.assertEqual(self.get("/odd%20index/").status, 200)
        page = self.get("/plain/")
        self.assertIn(b"x&lt;y&gt;&amp;&quot;z&#39;</a>", page.body)
        self.assertIn(b'href="./x%3Cy%3E%26%22z%27"', page.body)
        self.assertIn(b'href="./sub/"', page.body)
        self.assertNotIn(b"x<y>", page.body)
        moved = self.get("/with%20index")
        self.assertEqual((moved.status, moved.fields["location"]), (301, "/with%20index/"))
        self.assertEqual(self.get("//plain/sub").fields["location"], "/plain/sub/")
        self.assertEqual(self.get("/letters.txt/").status, 404)

    def test_large_folder(self):
        """a folder with more names than a page holds says so"""
        large = self.folder / "many"
        large.mkdir()
        for number in range(10_050):
            (large / f"{number:05}").touch()
        page = self.get("/many/").body
        self.assertEqual(page.count(b"<li>"), 10_001)
        self.assertIn(b"Only the first 10000", page)

    def test_not_found(self):
        """what is not there, or is neither file nor folder, is 404"""
        os.mkfifo(self.folder / "fifo")
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self.folder / "socket"))
        listening.close()
        for target in ("/nothing", "/letters.txt/below", "/fifo", "/socket", "/" + "x" * 300, "/" + "x/" * 3000):
            self.assertEqual(self.get(target).status, 404, target[:40])

    def test_conditions(self):
        """a client that has the current version is told so, by tag or by date"""
        tag = self.get("/letters.txt").fields["etag"]
        for field, status in (
            (f"If-Modified-Since: {MODIFIED_TEXT}", 304),
            ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT", 304),
            ("If-Modified-Since: Sun Nov  6 08:49:37 1994", 304),
            ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT", 200),
            ("If-Modified-Since: yesterday", 200),
            (f"If-None-Match: {tag}", 304),
            (f'If-None-Match: "other", W/{tag}', 304),
            ("If-None-Match: *", 304),
            ('If-None-Match: "other"', 200),
        ):
            answer = self.get("/letters.txt", fields=[field])
            self.assertEqual(answer.status, status, field)
            self.assertEqual(answer.body, LETTERS if status == 200 else b"", field)
        both = ['If-None-Match: "other"', f"If-Modified-Since: {MODIFIED_TEXT}"]
        self.assertEqual(self.get("/letters.txt", fields=both).status, 200, "the tag counts")
        with self.server.client() as client:
            self.assertEqual(client.request("/letters.txt", fields=[f"If-None-Match: {tag}"]).status, 304)
            self.assertEqual(client.request("/letters.txt").body, LETTERS)

    def test_ranges(self):
        """a part is 206 with what was asked for, a part beyond the end 416, anything odd the whole"""
        huge = "9" * 30
        for wanted, status, body in (
            ("bytes=0-0", 206, b"a"),
            ("bytes=0-", 206, LETTERS),
            ("bytes=3-5", 206, b"def"),
            ("BYTES=3-5", 206, b"def"),
            ("bytes=25-", 206, b"z"),
            ("bytes=25-99", 206, b"z"),
            (f"bytes=25-{huge}", 206, b"z"),
            ("bytes=-3", 206, b"xyz"),
            (f"bytes=-{huge}", 206, LETTERS),
            ("bytes=26-", 416, None),
            (f"bytes={huge}-", 416, None),
            ("bytes=-0", 416, None),
            ("bytes=5-3", 200, LETTERS),
            ("bytes=0-1,3-4", 200, LETTERS),
            ("bytes=", 200, LETTERS),
            ("bytes=-", 200, LETTERS),
            ("bytes=a-b", 200, LETTERS),
            ("bytes=1-2x", 200, LETTERS),
            ("bytes=+1-2", 200, LETTERS),
            ("bytes", 200, LETTERS),
            ("lines=1-2", 200, LETTERS),
        ):
            answer = self.get("/letters.txt", fields=[f"Range: {wanted}"])
            self.assertEqual(answer.status, status, wanted)
            if status == 416:
                self.assertEqual(answer.fields["content-range"], "bytes */26", wanted)
                continue
            self.assertEqual(answer.body, body, wanted)
            if status == 206:
                first = LETTERS.index(body)
                self.assertEqual(answer.fields["content-range"], f"bytes {first}-{first + len(body) - 1}/26", wanted)

        large = (self.folder / "large.bin").read_bytes()
        self.assertEqual(self.get("/large.bin", fields=["Range: bytes=70000-2000000"]).body, large[70000:2000001])
        self.assertEqual(self.get("/letters.txt", "HEAD", ["Range: bytes=1-2"]).status, 200)
        self.assertEqual(self.get("/empty", fields=["Range: bytes=0-"]).status, 416)
        self.assertEqual(self.get("/empty", fields=["Range: bytes=-1"]).status, 200)

    def test_if_range(self):
        """a part is sent only beside the same version"""
        tag = self.get("/letters.txt").fields["etag"]
        for validator, status in ((tag, 206), (MODIFIED_TEXT, 206), ('"other"', 200), ("W/" + tag, 200),
                                  ("Sun, 06 Nov 1994 08:49:38 GMT", 200), ("junk", 200)):
            answer = self.get("/letters.txt", fields=["Range: bytes=1-2", f"If-Range: {validator}"])
            self.assertEqual(answer.status, status, validator)

    def test_no_way_out(self):
        """nothing outside of the folder is served, by whatever name"""
        (self.outside / "secret").write_bytes(b"secret")
        (self.folder / "out").symlink_to("../secret")
        (self.folder / "absolute").symlink_to(self.outside / "secret")
        (self.folder / "up").symlink_to("..")
        (self.folder / "magic").symlink_to("/proc/self/root")
        (self.folder / "round").symlink_to("round")
        (self.folder / "inside").symlink_to("letters.txt")
        self.assertEqual(self.get("/inside").body, LETTERS)
        secret = str(self.outside / "secret")
        for target in ("/../secret", "/%2e%2e/secret", "/%2E./secret", "/plain/../../secret", "/..%2fsecret",
                       "/%2e%2e%2fsecret", "/plain%2f..%2f..%2fsecret", "/..%5csecret", "/..;/secret", "/.../secret",
                       "/%252e%252e/secret", "/%c0%ae%c0%ae/secret", "/out", "/absolute", "/up/secret", "/up/",
                       "/magic/", "/magic/etc/passwd", "/round", secret, "/" + secret, "/%2f" + secret, "/..",
                       "/plain/../..", "http://test/../secret"):
            answer = self.get(target)
            self.assertEqual(answer.status, 404, target)
            self.assertNotIn(b"secret", answer.body.replace(b"served", b""), target)
        for target in ("/%00", "/letters.txt%00.html", "/%", "/%4", "/%zz", "/a%-1", "/..%00/secret"):
            self.assertEqual(self.get(target).status, 400, target)

    def test_shrinking(self):
        """a file that becomes shorter while it is sent ends the connection: no client takes a part for all"""
        shrinking = self.folder / "shrinking"
        shrinking.write_bytes(bytes(50_000_000))
        with self.server.client() as client:
            client.send(b"GET /shrinking HTTP/1.1\r\nHost: test\r\n\r\n")
            client.more()
            shrinking.write_bytes(b"")
            with self.assertRaises(EOFError):
                client.answer()


class Requests(ServerCase):
    @classmethod
    def fill(cls, folder):
        (folder / "file").write_bytes(b"contents")
        (folder / "other").write_bytes(b"other")

    def test_methods(self):
        """any other method is 405 and names those that are allowed"""
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
            answer = self.get("/file", method)
            self.assertEqual((answer.status, answer.fields["allow"]), (405, "GET, HEAD"), method)

    def test_malformed(self):
        """what is no request is 400, and the connection ends"""
        for raw in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"GET /file\r\n\r\n",
                    b"GET  /file HTTP/1.1\r\n\r\n", b"GET /file HTTP/1.1\r\nno colon\r\n\r\n",
                    b"GET /fi\x00le HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /file HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
                    b"GET /file HTTP/1.1\r\nHost : x\r\n\r\n", b"GET file HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /file HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
                    b"GET /file HTTP/1.1\r\n\r\n", b"GET /file HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
                    b"GET /file HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                    b"GET /file HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                    b"GET /file HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                    b"GET /file HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
                    b"GET /file HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
                    b"GET /file HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"):
            with self.subTest(raw=raw):
                self.assertEqual(self.status_of(raw), 400)
        for raw in (b"GET /file HTTP/2.0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
            self.assertEqual(self.status_of(raw), 505, raw)

    def test_refused_closes(self):
        """after a request that was refused nothing else is read"""
        with self.server.client() as client:
            client.send(b"nonsense\r\n\r\nGET /file HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = client.answer()
            self.assertEqual((answer.status, answer.fields["connection"]), (400, "close"))
            self.assertTrue(client.is_closed())

    def test_header_size(self):
        """a header of 8 KiB is read, one of 20 KiB is 431, in one field, many, or the target"""
        fits = b"GET /file HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 8000 + b"\r\n\r\n"
        self.assertEqual(self.status_of(fits), 200)
        for raw in (b"GET /file HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000 + b"\r\n\r\n",
                    b"GET /file HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 3500 + b"\r\n",
                    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"GET /file HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 30_000,
                    b"\r\n" * 10_000 + b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n"):
            self.assertEqual(self.status_of(raw), 431)

    def test_bodies(self):
        """a body is skipped; one announced too large is 413; one of unknown length ends the connection"""
        with self.server.client() as client:
            body = b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
            client.send(b"GET /file HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            self.assertEqual(client.answer().body, b"contents")
            self.assertEqual(client.request("/other").body, b"other")
            client.send(b"POST /file HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
            self.assertEqual(client.answer().status, 405)
            client.send(b"GET /file HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n")
            self.assertEqual(client.answer().status, 413)
            self.assertTrue(client.is_closed())
        huge = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999\r\n\r\n"
        self.assertEqual(self.status_of(huge), 413)
        with self.server.client() as client:
            client.send(b"GET /file HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            answer = client.answer()
            self.assertEqual((answer.status, answer.fields["connection"]), (200, "close"))
            self.assertTrue(client.is_closed())

    def test_expectation(self):
        """a client that waits for a go-ahead gets the answer instead"""
        with self.server.client() as client:
            answer = client.request("/file", "PUT", ["Content-Length: 1000", "Expect: 100-continue"])
            self.assertEqual((answer.status, answer.fields["connection"]), (405, "close"))

    def test_pipelining(self):
        """requests sent in one piece are answered in their order"""
        with self.server.client() as client:
            client.send(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\nHEAD /file HTTP/1.1\r\nHost: x\r\n\r\n"
                        b"\r\nGET /none HTTP/1.1\r\nHost: x\r\n\r\nGET /other HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(client.answer().body, b"contents")
            self.assertEqual(client.answer(has_body=False).status, 200)
            self.assertEqual(client.answer().status, 404)
            self.assertEqual(client.answer().body, b"other")
            client.send(b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
            for _ in range(2000):
                self.assertEqual(client.answer().body, b"other")

    def test_pieces(self):
        """a request may come in any pieces"""
        raw = b"\r\nGET /file HTTP/1.1\r\nHost: x\r\nX-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\nxy"
        with self.server.client() as client:
            for begin in range(len(raw)):
                client.send(raw[begin:begin + 1])
            self.assertEqual(client.answer().body, b"contents")
            for cut in range(1, len(raw)):
                client.send(raw[:cut])
                client.send(raw[cut:])
                self.assertEqual(client.answer().body, b"contents")

    def test_keep_alive(self):
        """a connection stays open as its version and its wishes say"""
        for version, field, stays in (("HTTP/1.1", "A: b", True), ("HTTP/1.1", "Connection: close", False),
                                      ("HTTP/1.1", "Connection: foo, Close", False), ("HTTP/1.0", "A: b", False),
                                      ("HTTP/1.0", "Connection: keep-alive", True)):
            with self.server.client() as client:
                answer = client.request("/file", fields=[field], version=version)
                self.assertEqual(answer.body, b"contents")
                if stays:
                    said = answer.fields.get("connection", "")
                    self.assertEqual(said, "keep-alive" if version == "HTTP/1.0" else "")
                    self.assertEqual(client.request("/other").body, b"other")
                else:
                    self.assertEqual(answer.fields["connection"], "close")
                    self.assertTrue(client.is_closed())

    def test_half_closed(self):
        """a client that has said all that it will is answered all the same"""
        with self.server.client() as client:
            client.send(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
            client.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(client.answer().body, b"contents")
            self.assertTrue(client.is_closed())


main()
