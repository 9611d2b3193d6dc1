import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fb_marketplace_serving.release import admin
from fb_marketplace_serving.release.admin import export, rollback, verify
from fb_marketplace_serving.release.artifacts import release_artifacts
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import ReleaseError
from fb_marketplace_serving.release.pointer import (
    current_version,
    load_pointer,
    make_pointer,
    publish,
)
from fb_marketplace_serving.storage.erasure_list import add_to_erasure_list
from fb_marketplace_serving.storage.lake import Lake


def nobody(_):
    pass


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def damage(lake, path):
    file = Path(lake, path)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.fixture
def two(lake, draft):
    """A lake whose second release, with its own listings, is current."""
    listings = Path(lake, "model/listings.parquet")
    newer = Path(lake, "model/listings-2.parquet")
    newer.write_bytes(listings.read_bytes())
    artifact = draft.artifacts["listings"].model_copy(update={"path": "model/listings-2.parquet"})
    artifacts = draft.artifacts | {"listings": artifact}
    publish(Lake(lake), draft.model_copy(update={"version": "v2", "artifacts": artifacts}))
    return lake


@pytest.fixture
def shop(tmp_path_factory):
    """A folder to export into, beside nothing else."""
    return tmp_path_factory.mktemp("shop") / "release"


def test_verify_reports_each_file_of_whole_release(lake, draft):
    output = []

    assert verify(Lake(lake), None, output.append) == draft

    assert [line.split(":")[0] for line in output[:-1]] == [
        f"[{number}/10] {file.path}"
        for number, file in enumerate(release_artifacts(Lake(lake), draft), start=1)
    ]
    assert all(line.endswith("checksum verified") for line in output[:-1])


def test_verify_reads_all_files_after_damaged_first(lake):
    damage(lake, "model/encoder.onnx")
    Path(lake, "model/ids.parquet").unlink()
    output = []

    with pytest.raises(ReleaseError, match=r"encoder\.onnx.*sha256.*\b1\b.*\b10\b"):
        verify(Lake(lake), None, output.append)

    assert [("checksum verified" in line) for line in output] == [False, True, False, *[True] * 7]


def test_verify_reports_damaged_photos(lake):
    file = next(Path(lake, "07_model_output/photos").iterdir())
    damage(lake, str(file.relative_to(lake)))

    with pytest.raises(ReleaseError, match=rf"{file.name}.*sha256"):
        verify(Lake(lake), None, nobody)


def test_verify_reads_rest_if_photo_table_is_damaged(lake, draft):
    damage(lake, draft.artifacts["release_photos"].path)
    output = []

    with pytest.raises(ReleaseError, match=r"photos\.parquet.*sha256"):
        verify(Lake(lake), None, output.append)

    assert len(output) == 8


def test_verify_rejects_wrong_canary_prediction(tmp_path, draft):
    canary = draft.canaries[0]
    wrong = canary.model_copy(update={"probabilities": canary.probabilities[::-1]})
    publish(Lake(str(tmp_path)), draft.model_copy(update={"canaries": (wrong,)}))

    with pytest.raises(ReleaseError, match="canary img-green"):
        verify(Lake(str(tmp_path)), None, nobody)


def test_verify_accepts_other_version(two):
    damage(two, "model/listings-2.parquet")

    assert verify(Lake(two), "v1", nobody).version == "v1"


def test_rollback_goes_back_and_forward(two):
    assert rollback(Lake(two), "v1").version == "v2"
    assert Release.open(two).manifest.version == "v1"

    assert rollback(Lake(two), "v2").version == "v1"
    assert Release.open(two).manifest.version == "v2"


def test_rollback_to_damaged_release_is_rejected(two):
    damage(two, "model/listings.parquet")

    with pytest.raises(ReleaseError, match=r"listings\.parquet.*sha256"):
        rollback(Lake(two), "v1")

    assert current_version(Lake(two)) == "v2"


def test_rollback_to_release_with_erased_listing_is_rejected(two):
    products = Release.open(two, "v1").index.product_ids
    add_to_erasure_list(Lake(two), products[:1], [])

    with pytest.raises(ReleaseError, match="erased"):
        rollback(Lake(two), "v1")

    assert current_version(Lake(two)) == "v2"


def test_rollback_to_release_removed_meanwhile_is_undone(two, monkeypatch):
    from_manifest = Release.from_manifest

    def open_then_remove(lake, manifest):
        release = from_manifest(lake, manifest)
        (Path(two) / "releases" / f"{manifest.version}.json").unlink()
        return release

    monkeypatch.setattr(Release, "from_manifest", open_then_remove)

    with pytest.raises(ReleaseError, match=r"\bremoved\b"):
        rollback(Lake(two), "v1")

    assert current_version(Lake(two)) == "v2"


def test_rollback_to_current_release_completes_its_pointer(two):
    """A pointer of version 0.2 has no checksum of the manifest."""
    Path(two, "releases/current.json").write_text('{"version": "v2"}', "utf-8")

    rollback(Lake(two), "v2")

    assert load_pointer(Lake(two)).manifest_sha256


def test_rollback_to_missing_release_is_rejected(two):
    with pytest.raises(ReleaseError, match=r"v9\.json"):
        rollback(Lake(two), "v9")

    assert current_version(Lake(two)) == "v2"


def test_rollback_over_concurrent_publish_is_rejected(two, draft, monkeypatch):
    from_manifest = Release.from_manifest

    def publish_then_open(lake, manifest):
        publish(lake, draft.model_copy(update={"version": "v3"}))
        return from_manifest(lake, manifest)

    monkeypatch.setattr(admin.Release, "from_manifest", publish_then_open)

    with pytest.raises(ReleaseError, match=r"\bv3\b"):
        rollback(Lake(two), "v1")

    assert current_version(Lake(two)) == "v3"


def test_rollback_repairs_damaged_pointer(two):
    Path(two, "releases/current.json").write_text("{")

    assert rollback(Lake(two), "v1").version is None
    assert current_version(Lake(two)) == "v1"


def test_rollback_names_pointer_without_write_permission(two, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Lake, "replace_if", refuse)

    with pytest.raises(ReleaseError, match=r"current\.json.*Permission denied"):
        rollback(Lake(two), "v1")


def test_exported_release_opens_by_itself(two, shop):
    assert export(Lake(two), str(shop), "v1", nobody).version == "v1"

    assert Release.open(str(shop)).manifest.version == "v1"
    assert files(shop) == {
        path: data
        for path, data in files(two).items()
        if path.endswith(
            (
                *("encoder.onnx", "index.faiss", "ids.parquet", "listings.parquet"),
                *(
                    "descriptions.parquet",
                    "photos.parquet",
                    "measures.parquet",
                    ".jpegs",
                    "v1.json",
                ),
            )
        )
    } | {"releases/current.json": make_pointer("v1", Path(two, "releases/v1.json").read_bytes())}
    assert shop.stat().st_mode & 0o555 == 0o555
    assert list(shop.parent.iterdir()) == [shop]


def test_export_of_current_release_into_empty_folder(two, shop):
    shop.mkdir()

    assert export(Lake(two), str(shop), None, nobody).version == "v2"
    assert current_version(Lake(str(shop))) == "v2"


def test_export_of_damaged_file_leaves_nothing(two, shop):
    damage(two, "model/index.faiss")

    with pytest.raises(ReleaseError, match=r"index\.faiss.*sha256"):
        export(Lake(two), str(shop), None, nobody)

    assert list(shop.parent.iterdir()) == []


def test_export_that_is_interrupted_leaves_nothing(two, shop):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(Lake(two), str(shop), None, interrupt)

    assert list(shop.parent.iterdir()) == []


def test_export_never_overwrites(two, shop):
    shop.mkdir()
    (shop / "mine").write_text("kept")

    with pytest.raises(ReleaseError, match=re.escape(str(shop))):
        export(Lake(two), str(shop), None, nobody)
    with pytest.raises(ReleaseError, match="mine"):
        export(Lake(two), str(shop / "mine"), None, nobody)
    with pytest.raises(ReleaseError, match="s3://bucket/there"):
        export(Lake(two), "s3://bucket/there", None, nobody)

    assert files(shop) == {"mine": b"kept"}


def test_export_names_folder_that_cannot_be_created(two, shop):
    shop.write_text("a file")

    with pytest.raises(ReleaseError, match="Not a directory"):
        export(Lake(two), str(shop / "below"), None, nobody)


def test_reader_identity_serves_and_exports_without_rollback(two, seaweed, bucket, become, shop):
    seaweed.upload(Path(two), bucket)
    become(seaweed.reader)

    assert Release.open(bucket).manifest.version == "v2"
    assert verify(Lake(bucket), None, nobody).version == "v2"
    export(Lake(bucket), str(shop), None, nobody)
    assert Release.open(str(shop)).manifest.version == "v2"
    with pytest.raises(ReleaseError, match=r"current\.json") as caught:
        rollback(Lake(bucket), "v1")
    assert "\n" not in str(caught.value)
    assert current_version(Lake(bucket)) == "v2"


def as_one_who_may_be_denied(*words, environment):
    """Run a command without root's right to write anywhere, where this process has that."""
    denied = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    return subprocess.run(
        [*(denied if os.geteuid() == 0 else []), sys.executable, *words],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_read_only_folder_is_served_and_verified(two, environment):
    folders = [Path(two), *(item for item in Path(two).rglob("*") if item.is_dir())]
    code = f"from fb_marketplace_serving.release.loader import Release; Release.open({two!r})"
    command = ("-m", "fb_marketplace_serving.cli.main")
    for folder in folders:
        folder.chmod(0o555)
    try:
        opened = as_one_who_may_be_denied("-c", code, environment=environment)
        verified = as_one_who_may_be_denied(
            *command, "verify", "--lake", two, environment=environment
        )
        moved = as_one_who_may_be_denied(
            *command, "rollback", "v1", "--lake", two, environment=environment
        )
    finally:
        for folder in folders:
            folder.chmod(0o755)

    assert (opened.returncode, opened.stderr) == (0, "")
    assert verified.returncode == 0
    assert moved.returncode == 2
    assert "current.json" in moved.stderr
    assert current_version(Lake(two)) == "v2"
