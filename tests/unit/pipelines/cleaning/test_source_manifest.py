import hashlib

from fb_marketplace.pipelines.cleaning.source_manifest import record_sources
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.photo_source import PhotoSource


def test_manifest_has_bucket_and_table_checksums(tmp_path):
    contents = {"Products.csv": b"id\np\n", "Images.csv": b"id,product_id\ni,p\n"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    products, images = (FileRef(f"{tmp_path}/{name}") for name in contents)

    described = record_sources(products, images, PhotoSource(f"{tmp_path}/images"))

    for table, name in (("products", "Products.csv"), ("images", "Images.csv")):
        assert described[table] == {
            "url": f"{tmp_path}/{name}",
            "bytes": len(contents[name]),
            "sha256": hashlib.sha256(contents[name]).hexdigest(),
        }
    assert described["photos"] == {"url": f"{tmp_path}/images"}
