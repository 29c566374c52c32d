"""A packed file of records: the same records, the same bytes each time, and a damaged one told by one sentence."""

import gzip

import pytest
from sweep_work import here

from matchlib import __main__ as command
from matchlib import archive, sweep
from matchlib.archive import pack, packed, unpack
from matchlib.grids import GRIDS
from matchlib.ledger import load
from matchlib.record import RunError
from matchlib.sweep import plan, run_grid

TINY = GRIDS["tiny"]


@pytest.fixture
def records(tmp_path):
    """The file of a sweep that is complete."""
    run_grid(TINY, tmp_path, here, progress=False)
    return tmp_path / "tiny.jsonl"


def test_packing_keeps_every_record_and_takes_less_room(records):
    text, kept = records.read_bytes(), load(records)
    pack(records)
    first = packed(records).read_bytes()
    assert not records.exists() and len(first) <= len(gzip.compress(text, 9)) < len(text) / 2
    assert load(records) == kept
    unpack(records)
    assert records.read_bytes() == text and not packed(records).exists()
    pack(records)
    assert packed(records).read_bytes() == first and first[4:8] == bytes(4), "no time of day in it"


def test_a_full_disk_loses_nothing(records, monkeypatch):
    def full(path, content):
        raise RunError("no space left")

    text = records.read_bytes()
    for step, kept in ((pack, records), (unpack, packed(records))):
        with monkeypatch.context() as broken, pytest.raises(RunError, match="no space"):
            broken.setattr(archive, "write_whole", full)
            step(records)
        assert kept.exists()
        step(records)
    assert records.read_bytes() == text


def test_a_file_of_records_goes_before_a_packed_one(records):
    packed(records).write_bytes(gzip.compress(b""))
    assert len(load(records)) == 8
    unpack(records)
    assert len(load(records)) == 8 and packed(records).exists()


def test_a_sweep_goes_on_with_a_packed_file(records):
    records.write_bytes(b"".join(records.read_bytes().splitlines(keepends=True)[:5]))
    pack(records)
    assert len(plan(TINY, records.parent).todo) == 3 and records.exists()
    assert len(run_grid(TINY, records.parent, here, resume=True, progress=False)) == 8


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b"{}\n" * 999)[:-9]], ids=["no gzip", "cut short"])
def test_a_damaged_packed_file_gets_one_sentence(records, content):
    records.unlink()
    packed(records).write_bytes(content)
    with pytest.raises(RunError, match=r"jsonl.gz cannot be unpacked \(.*\): restore it, or run the sweep again.$"):
        load(records)


def test_the_command_packs_what_is_complete(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "choose_engine", lambda *_: (here, "Engine: here."))
    assert command.main(["sweep", "tiny", "--folder", str(tmp_path), "--pack"]) == 0
    assert packed(tmp_path / "tiny.jsonl").exists() and not (tmp_path / "tiny.jsonl").exists()
    assert len(load(tmp_path / "tiny.jsonl")) == 8
    assert "8 runs, 8 done" in capsys.readouterr().out


def test_nothing_to_load_is_a_sentence(tmp_path):
    with pytest.raises(RunError, match="There are no records at"):
        load(tmp_path / "tiny.jsonl")
