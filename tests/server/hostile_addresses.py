"""Addresses, files and redirects that lead where nobody should go, and servers that answer with malice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

from tests.server.hostile import MESSAGES, RESPONSES, Hostile, chat, clip, picture, words

ADDRESSES = words(
    """
127.0.0.1 127.0.0.1:8000 127.1.2.3 0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 168.63.129.16
169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1
198.51.100.7 203.0.113.7 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 [::] [::1] [::127.0.0.1]
[::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:169.254.169.254] [::ffff:8.8.8.8] [64:ff9b::7f00:1] [64:ff9b::a9fe:a9fe]
[64:ff9b:1::1] [2002:7f00:1::] [2002:a9fe:a9fe::] [2001::1] [2001:db8::1] [100::1] [3fff::1] [fc00::1]
[fd00:ec2::254] [fe80::1] [fe80::1%25eth0] [fec0::1] [ff02::1] [5f00::1] [4000::1] localhost localhost. LOCALHOST
inside.example mixed.example metadata.google.internal
"""
)
SPELLINGS = words(
    """
2130706433 0x7f000001 0X7F000001 017700000001 0177.0.0.1 0x7f.0.0.1 0x7f.1 127.1 127.0.1 0 127.0.0.1. 127.0.0.256
0xa9fea9fe 2852039166 1.2.3 0x
"""
)
STRANGE_URLS = [
    "http://user@127.0.0.1/",
    "http://site.example@127.0.0.1/",
    "http://127.0.0.1@site.example/",
    "http://user:secret@site.example/",
    "http://127.0.0.1\\@site.example/",
    "http://site.example\\@127.0.0.1/",
    "http://site.example#@127.0.0.1/missing",
    "http://127.0.0.1#.site.example/",
    "http://127.0.0.1?.site.example/",
    "http://127.0.0.1%2f.site.example/",
    "http://127.0.0.1;.site.example/",
    "http://site.example:80:80/",
    "http://site.example:99999/",
    "http://site.example:0/",
    "http://site.example:-1/",
    "http://[::1/",
    "http://::1/",
    "http://[v1.fe80::1]/",
    "http:///etc/passwd",
    "http://",
    "http:127.0.0.1/",
    "http:/127.0.0.1/",
    "//127.0.0.1/",
    "\\\\inside.example\\share\\shot.png",
    "http://site.example\r\nX-Injected: 1/",
    "http://site.ex\tample/",
    "http://\u2460\u2461\u2466.0.0.1/",
    "http://127\u30020\u30020\u30021/",
    "http://nowhere.example/",
    "http://" + "a" * 64 + ".example/",
    "http://" + "a." * 5000 + "example/",
    "http://site.example/" + "a" * 100_000,
    "ftp://site.example/x",
    "gopher://site.example:70/_x",
    "dict://127.0.0.1:11211/stat",
    "ldap://inside.example/",
    "jar:http://site.example!/x",
    "javascript:alert(1)",
    "blob:http://site.example/x",
    "concat:http://127.0.0.1/x",
]
FILES = [
    "/etc/passwd",
    "../../../../etc/passwd",
    "~/.ssh/id_rsa",
    "/proc/self/environ",
    "/proc/self/fd/0",
    "/dev/zero",
    "/dev/stdin",
    "shot.png",
    ".",
    "",
    "C:\\Windows\\win.ini",
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "file://localhost/etc/passwd",
    "file://inside.example/share",
    "file:/etc/passwd",
    "file:///etc/%70asswd",
    "file:///proc/self/environ",
    "a\0b.png",
    "x" * 100_000,
]
REDIRECTS = [
    "http://127.0.0.1/",
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://[::1]/",
    "http://inside.example/",
    "http://2130706433/",
    "//10.0.0.1/",
    "file:///etc/passwd",
    "gopher://127.0.0.1/",
    "data:image/png;base64,AAAA",
    "http://user@site.example/",
    "http://site.example\\@127.0.0.1/",
    "/go?to=/go?to=http%3A%2F%2F127.0.0.1%2F",
    "/round",
]
ANSWERS = [
    "endless",
    "drip",
    "headers",
    "long-header",
    "liar",
    "empty",
    "missing",
    "html",
    "zip-bomb",
    "chunks",
    "not-http",
]


def addresses() -> Iterator[Hostile]:
    for url in [f"http://{host}/x.png" for host in (*ADDRESSES, *SPELLINGS)] + STRANGE_URLS:
        yield Hostile(f"picture at {url[:60]!r}", lambda url=url: chat(picture(url)))
    for path in FILES:
        yield Hostile(f"file {path[:40]!r}", lambda path=path: chat(picture(path)))
    for target in REDIRECTS:
        url = f"http://site.example/go?to={quote(target, safe='')}"
        yield Hostile(f"redirect to {target[:50]!r}", lambda url=url: chat(picture(url)))
    for answer in ANSWERS:
        yield Hostile(f"a server's answer: {answer}", lambda url=f"http://site.example/{answer}": chat(picture(url)))
    for kind, part in {
        "clip": clip("http://169.254.169.254/x.mp4"),
        "document": {"type": "document", "document": "http://169.254.169.254/x.pdf"},
        "frame": {"type": "video", "video": ["http://site.example/ok.png", "http://127.0.0.1/x.png"]},
        "local clip": clip("/etc/passwd"),
        "local document": {"type": "document", "document": "/etc/passwd"},
        "local frame": {"type": "video", "video": ["file:///etc/passwd"]},
    }.items():
        yield Hostile(f"another kind of media: {kind}", lambda part=part: chat(part))
    response = {"role": "user", "content": [{"type": "input_image", "image_url": "http://127.0.0.1/x.png"}]}
    yield Hostile("address, responses", lambda: json.dumps({"input": [response]}).encode(), RESPONSES)
    source = {"type": "image", "source": {"type": "url", "url": "file:///etc/passwd"}}
    message = {"max_tokens": 2, "messages": [{"role": "user", "content": [source]}]}
    yield Hostile("file, messages", lambda: json.dumps(message).encode(), MESSAGES)
