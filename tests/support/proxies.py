"""Commands of proxies with the configurations in serving/deploy, in front of servers."""

from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "serving/deploy"


def nginx(folder: Path, port: int, *servers: str) -> list[str]:
    """Write the configuration of nginx into a folder, and return its command.

    Args:
        folder: an empty folder.
        port: to listen on.
        servers: HOST:PORT of each server.
    """
    site = DEPLOY.joinpath("nginx.conf").read_text("utf-8")
    site = site.replace("listen 80;", f"listen 127.0.0.1:{port};").replace(
        "server 127.0.0.1:8000 max_fails=0;",
        " ".join(f"server {server} max_fails=0;" for server in servers),
    )
    folder.joinpath("site.conf").write_text(site, "utf-8")
    paths = "".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {paths} include {folder}/site.conf; }}\n",
        "utf-8",
    )
    return ["nginx", "-e", "stderr", "-c", str(main)]


def caddy(folder: Path, port: int, *servers: str) -> list[str]:
    """Write the configuration of Caddy into a folder, and return its command; see :func:`nginx`."""
    text = DEPLOY.joinpath("Caddyfile").read_text("utf-8")
    text = text.replace(":80 {", f"http://127.0.0.1:{port} {{")
    text = text.replace("127.0.0.1:8000", " ".join(servers))
    file = folder / "Caddyfile"
    file.write_text(text, "utf-8")
    return ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"]
