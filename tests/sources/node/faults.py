"""What a node can do wrong, by name."""

from __future__ import annotations

from tests.virtual import node as virtual
from tests.virtual.node import Fault

TRANSPORT: dict[str, Fault] = {
    "reset after the request": virtual.reset_after_request,
    "reset after doing it": virtual.reset_after_doing_it,
    "reset after the head": virtual.reset_after_head,
    "reset in the body": virtual.reset_in_body,
    "end in the body": virtual.end_in_body,
    "silence": virtual.silence,
    "silence after the head": virtual.silence_after_head,
    "drip": virtual.drip,
    "another protocol": virtual.raw(b"220 smtp.example ESMTP\r\n"),
}
WORDS: dict[str, Fault] = {
    "401": virtual.status(401),
    "403": virtual.status(403),
    "404": virtual.status(404, b"<html>"),
    "500": virtual.status(500),
    "503": virtual.status(503, b"Work queue depth exceeded"),
    "no method": virtual.error(-32601, "Method not found", 404),
    "internal error": virtual.error(-1, "internal"),
    "starting": virtual.error(-28, "Loading block index..."),
    "no JSON": virtual.body(b"<html></html>", "text/html"),
    "NaN": virtual.body(b'{"result": NaN}'),
    "a number": virtual.result(7),
    "a list": virtual.result([]),
    "an empty object": virtual.result({}),
    "an empty word": virtual.result(""),
    "true": virtual.result(True),
}
FINAL_AT_FIRST = {"401", "403", "no method"}  # before anything ever worked
TEMPLATES: dict[str, Fault] = {
    "negative bits": virtual.changed(lambda t: t.update(bits="20ffffff")),
    "target against bits": virtual.changed(lambda t: t.update(target="00" * 32)),
    "mintime after curtime": virtual.changed(lambda t: t.update(mintime=t["curtime"] + 1)),
    "huge height": virtual.changed(lambda t: t.update(height=10**300)),
    "huge flags": virtual.changed(lambda t: t.update(coinbaseaux={"flags": "00" * (4 << 20)})),
    "cut hex": virtual.changed(lambda t: t.update(previousblockhash=t["previousblockhash"][:-1])),
    "no coinbasevalue": virtual.changed(lambda t: t.pop("coinbasevalue")),
    "too heavy": virtual.changed(lambda t: t["transactions"][0].update(weight=4_000_000)),
    "the same transaction twice": virtual.changed(lambda t: t["transactions"].append(t["transactions"][0])),
    "other data": virtual.changed(lambda t: t["transactions"][0].update(data=t["transactions"][1]["data"])),
    "cut data": virtual.changed(lambda t: t["transactions"][0].update(data=t["transactions"][0]["data"][:-2])),
    "another commitment": virtual.changed(lambda t: t.update(default_witness_commitment="6a24aa21a9ed" + "00" * 32)),
}
