"""Trackers that break in every way, and one that writes down what it is told."""

from __future__ import annotations

import ctypes
import json
import os
import signal
from pathlib import Path

from harness.trackers.base import Opened, Tracker


class Scribe(Tracker):
    """Writes every call as a line of JSON to `<folder>/<run>/<name>.jsonl`."""

    def start(self, settings):
        self.file = Path(self.run.folder) / self.run.run_id / f"{self.run.name}.jsonl"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.write("start", settings=dict(settings), pid=os.getpid(), environment=dict(os.environ))
        return Opened(f"run {self.run.name}", str(self.file))

    def write(self, call, **facts):
        with self.file.open("a") as file:
            file.write(json.dumps({"call": call, **facts}) + "\n")

    def log(self, values, epoch):
        self.write("log", values=dict(values), epoch=epoch)

    def picture(self, name, png, epoch):
        self.write("picture", name=name, bytes=len(png), epoch=epoch)

    def finish(self, status):
        self.write("finish", status=status)


def hang():
    """Sleep for an hour with Python's lock held: no thread of this process can do anything."""
    ctypes.PyDLL(None).sleep(3600)


class RaisesAtStart(Scribe):
    def start(self, settings):
        raise RuntimeError("no account")


class RaisesInEveryOtherLog(Scribe):
    def log(self, values, epoch):
        if epoch % 2 == 1:
            raise ConnectionError("the server went away")
        super().log(values, epoch)


class RaisesInLog(Scribe):
    def log(self, values, epoch):
        super().log(values, epoch)
        raise ConnectionError("the server went away")


class HangsInLog(Scribe):
    def log(self, values, epoch):
        super().log(values, epoch)
        hang()


class HangsAtFinish(Scribe):
    def finish(self, status):
        super().finish(status)
        hang()


class KillsItself(Scribe):
    def log(self, values, epoch):
        os.kill(os.getpid(), signal.SIGKILL)


class TellsASecret(Scribe):
    def start(self, settings):
        super().start(settings)
        return Opened("1", f"https://someone:{os.environ['SHAKY_API_KEY']}@tracker.example/1")

    def finish(self, status):
        raise ValueError(f"refused: key {os.environ['SHAKY_API_KEY']}")
