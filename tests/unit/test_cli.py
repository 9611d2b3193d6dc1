"""A user's mistakes, each in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.startup import bootstrap_project

from fb_marketplace.cli import cli
from fb_marketplace_serving.ann.faiss_index import IndexMismatchError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fails(tmp_path):
    """Run `kedro run` on empty roots and return its stderr."""

    def fails(*arguments, raw=str(tmp_path / "raw")):
        remaining = {name: item for name, item in os.environ.items() if not name.startswith("AWS_")}
        environment = remaining | {
            "FB_RAW": raw,
            "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "FB_LAKE": str(tmp_path / "lake"),
            "DO_NOT_TRACK": "1",
        }
        ended = subprocess.run(
            [sys.executable, "-m", "kedro", "run", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 1, ended.stderr
        assert "Traceback" not in ended.stderr + ended.stdout
        errors = [line for line in ended.stderr.splitlines() if line.startswith("Error:")]
        assert errors == ended.stderr.splitlines()[-1:]
        assert not (tmp_path / "lake/runs").exists()
        return errors[0]

    return fails


def test_misspelled_pipeline_is_rejected_with_suggestion(fails):
    output = fails("--pipeline=cleening")

    assert "cleening" in output
    assert "baselines, cleaning" in output
    assert "Did you mean 'cleaning'?" in output


@pytest.fixture
def refused():
    """Invokes ``run`` in this process; returns its error line."""
    bootstrap_project(ROOT)

    def refused(*arguments):
        ended = CliRunner().invoke(cli, ["run", *arguments])
        assert ended.exit_code == 1
        (line,) = ended.output.splitlines()
        return line

    return refused


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


def test_missing_bucket_gives_remedy(fails, tmp_path):
    output = fails("--pipeline=cleaning")

    assert str(tmp_path / "raw") in output
    assert "FB_RAW" in output


def test_missing_credentials_are_reported(fails):
    output = fails("--pipeline=cleaning", raw="s3://bucket/raw")

    assert "s3://bucket/raw" in output
    assert "credentials" in output


def test_misspelled_parameter_is_rejected(fails):
    output = fails("--pipeline=sample", "--params=sample.sead=3")

    assert "sead" in output


def test_missing_input_names_earlier_pipeline(fails):
    output = fails("--pipeline=embeddings")

    assert "encoder" in output
    assert "images" in output


def test_misspelled_environment_is_rejected(fails):
    assert "typo" in fails("--env=typo")


def test_table_in_other_encoding_is_rejected(fails, tmp_path):
    (tmp_path / "raw/Assets").mkdir(parents=True)
    (tmp_path / "raw/images").mkdir()
    columns = "id,product_name,category,product_description,price,location\n"
    written = columns + "1,Caf\u00e9 table,Home / Tables,A table.,5,Leeds\n"
    (tmp_path / "raw/Assets/Products.csv").write_bytes(written.encode("latin-1"))
    (tmp_path / "raw/Assets/Images.csv").write_text("id,product_id\n1,1\n")

    output = fails("--pipeline=cleaning")

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


def test_old_parameter_section_is_refused_with_its_new_name(fails):
    error = fails("--pipeline=sample", "--params=word_index.k1=1.2")

    assert "`word_index` is now `bm25`" in error


def test_forget_refuses_old_option_with_its_new_name():
    ended = CliRunner().invoke(cli, ["forget", "p-1", "--floors-only"])

    assert ended.exit_code == 2
    assert "--floors-only is now --skip-comparison" in ended.output
