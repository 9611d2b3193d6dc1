"""A user's mistakes, each in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.startup import bootstrap_project

from fb_marketplace.cli import RUNNERS, cli
from fb_marketplace.errors import UserError
from fb_marketplace_serving.ann.faiss_index import IndexMismatchError
from fb_marketplace_serving.storage.s3 import RetryingS3FileSystem

ROOT = Path(__file__).parents[2]


@pytest.fixture
def refused(monkeypatch, tmp_path):
    """Invokes ``run`` in this process, on empty roots; returns its only error line, the last."""
    bootstrap_project(ROOT)
    monkeypatch.chdir(ROOT)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    environment = {
        "FB_LAKE": str(tmp_path / "lake"),
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def refused(*arguments, raw=str(tmp_path / "raw")):
        RetryingS3FileSystem.clear_instance_cache()
        monkeypatch.setenv("FB_RAW", raw)
        ended = CliRunner().invoke(cli, ["run", *arguments])
        assert ended.exit_code == 1
        assert isinstance(ended.exception, SystemExit), repr(ended.exception)
        errors = [line for line in ended.output.splitlines() if line.startswith("Error:")]
        assert errors == ended.output.splitlines()[-1:]
        assert not (tmp_path / "lake/runs").exists()
        return errors[0]

    yield refused
    RetryingS3FileSystem.clear_instance_cache()


def test_command_prints_one_line_and_no_traceback(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "kedro", "run", "--pipeline=cleening"],
        cwd=ROOT,
        env=os.environ | {"FB_LAKE": str(tmp_path / "lake"), "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr + ended.stdout
    (line,) = ended.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "cleening" in line


def test_misspelled_pipeline_is_rejected_with_suggestion(refused):
    output = refused("--pipeline=cleening")

    assert "cleening" in output
    assert "baselines, cleaning" in output
    assert "Did you mean 'cleaning'?" in output


@pytest.mark.parametrize("option", ["--nodes", "--from-nodes", "--to-nodes"])
def test_misspelled_node_is_refused_with_the_nearest(refused, option):
    error = refused(f"{option}=clean_product")

    assert "clean_product'" in error
    assert "clean_products" in error
    assert "cleaning.clean_products" in refused(f"{option}=cleaning.clean_product")


def test_misspelled_tag_is_refused_with_all_tags(refused):
    error = refused("--tags=reprt")

    assert "reprt" in error
    assert all(tag in error for tag in ("encode", "report", "train"))


def test_node_of_another_pipeline_is_refused(refused):
    assert "clean_products" in refused("--pipeline=release", "--nodes=clean_products")


def test_missing_bucket_gives_remedy(refused, tmp_path):
    output = refused("--pipeline=cleaning")

    assert str(tmp_path / "raw") in output
    assert "FB_RAW" in output


def test_missing_credentials_are_reported(refused):
    output = refused("--pipeline=cleaning", raw="s3://bucket/raw")

    assert "s3://bucket/raw" in output
    assert "credentials" in output


def test_misspelled_parameter_is_rejected(refused):
    output = refused("--pipeline=sample", "--params=sample.sead=3")

    assert "sead" in output


def test_missing_input_names_earlier_pipeline(refused):
    output = refused("--pipeline=embeddings")

    assert "encoder" in output
    assert "images" in output


def test_misspelled_environment_is_rejected(refused):
    assert "typo" in refused("--env=typo")


def test_table_in_other_encoding_is_rejected(refused, tmp_path):
    (tmp_path / "raw/Assets").mkdir(parents=True)
    (tmp_path / "raw/images").mkdir()
    columns = "id,product_name,category,product_description,price,location\n"
    written = columns + "1,Caf\u00e9 table,Home / Tables,A table.,5,Leeds\n"
    (tmp_path / "raw/Assets/Products.csv").write_bytes(written.encode("latin-1"))
    (tmp_path / "raw/Assets/Images.csv").write_text("id,product_id\n1,1\n")

    output = refused("--pipeline=cleaning")

    assert "utf-8" in output


def test_index_with_ids_of_other_version_gives_one_line(monkeypatch):
    """As an index is loaded with ``--load-versions`` and its ids are not."""

    def run(**_):
        raise IndexMismatchError("found sha256 a; its ids expect sha256 b: take both from one run")

    monkeypatch.setattr(kedro_run, "callback", run)
    bootstrap_project(ROOT)

    ended = CliRunner().invoke(cli, ["run", "--pipeline=release"])

    assert ended.exit_code == 1
    assert ended.output.strip() == (
        "Error: found sha256 a; its ids expect sha256 b: take both from one run"
    )


@pytest.mark.parametrize("words", [(), ("--runner=SequentialRunner",)])
def test_run_without_another_runner_is_incremental(monkeypatch, words):
    runners = []
    monkeypatch.setattr(kedro_run, "callback", lambda **options: runners.append(options["runner"]))
    bootstrap_project(ROOT)

    ended = CliRunner().invoke(cli, ["run", "--pipeline=release", *words])

    assert ended.exit_code == 0
    assert runners == [RUNNERS[False]]


def test_old_parameter_section_is_refused_with_its_new_name(refused):
    error = refused("--pipeline=sample", "--params=word_index.k1=1.2")

    assert "`word_index` is now `bm25`" in error


def test_forget_refuses_old_option_with_its_new_name():
    ended = CliRunner().invoke(cli, ["forget", "p-1", "--floors-only"])

    assert ended.exit_code == 2
    assert "--floors-only is now --skip-comparison" in ended.output


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        (["p-1", " p-2 "], None),
        (["--from", "-"], "p-1\n\n p-2\r\np-1\n"),
        (["p-1", "--from", "-"], "\ufeffp-2"),
    ],
)
def test_forget_takes_ids_as_words_and_lines(words, stdin, monkeypatch):
    requested = []

    def find(_, ids):
        requested.append(ids)
        raise UserError("enough")

    monkeypatch.setattr("fb_marketplace.lifecycle.erasure.find_listings", find)
    monkeypatch.setattr("fb_marketplace.cli._configured_lake", lambda *_: None)

    ended = CliRunner().invoke(cli, ["forget", *words], input=stdin)

    assert "enough" in ended.output
    assert requested == [{"p-1", "p-2"}]


def test_forget_without_ids_is_refused():
    ended = CliRunner().invoke(cli, ["forget", "--from", "-"], input="\n")

    assert ended.exit_code == 2
    assert "--from" in ended.output
