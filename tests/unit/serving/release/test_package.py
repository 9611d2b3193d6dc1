import subprocess
import sys


def test_release_is_imported_on_first_use(environment):
    code = (
        "import sys\n"
        "import fb_marketplace_serving.release.manifest\n"
        "loaded = 'fb_marketplace_serving.release.loader'\n"
        "assert loaded not in sys.modules\n"
        "from fb_marketplace_serving.release import Release\n"
        "assert loaded in sys.modules and Release.__name__ == 'Release'"
    )

    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
