"""Which request is whose: the name of a route, method, path, endpoint."""

from collections.abc import Callable

from hub import reads, writes
from hub.call import Call, Reply

NAME = r"(?P<name>[\w.-]+(?:/[\w.-]+)?)"
API = rf"/api/(?P<kind>models|datasets)/{NAME}"
GIT = rf"/(?:(?P<kind>datasets)/)?{NAME}"
REVISION, REST = r"(?P<revision>[^/]+)", r"(?P<path>.+)"
STORED = rf"/storage/(?P<kind>models|datasets)/{NAME}/(?P<path>\w+)"
ROUTES: list[tuple[str, str, str, Callable[[Call], Reply]]] = [
    ("harnesses", "GET", r"/api/agent-harnesses", reads.get_harnesses),
    ("whoami", "GET", r"/api/whoami-v2", reads.who_am_i),
    ("validate", "POST", r"/api/validate-yaml", writes.validate_card),
    ("create", "POST", r"/api/repos/create", writes.create_repo),
    ("settings", "PUT", rf"{API}/settings", writes.change_settings),
    ("refs", "GET", rf"{API}/refs", reads.get_refs),
    ("commits", "GET", rf"{API}/commits/{REVISION}", reads.list_commits),
    ("tree", "GET", rf"{API}/tree/{REVISION}(?:/{REST})?", reads.get_tree),
    ("paths", "POST", rf"{API}/paths-info/{REVISION}", reads.get_paths_info),
    ("preupload", "POST", rf"{API}/preupload/{REVISION}", writes.plan_upload),
    ("batch", "POST", rf"{GIT}\.git/info/lfs/objects/batch", writes.plan_storage),
    ("upload", "PUT", STORED, writes.put_stored),
    ("verify", "POST", rf"{API}/lfs-verify", writes.verify_upload),
    ("commit", "POST", rf"{API}/commit/{REVISION}", writes.commit),
    ("branch", "POST", rf"{API}/branch/{REVISION}", writes.create_branch),
    ("branch", "DELETE", rf"{API}/branch/{REVISION}", writes.delete_branch),
    ("tag", "POST", rf"{API}/tag/{REVISION}", writes.create_tag),
    ("discussion", "GET", rf"{API}/discussions", reads.list_discussions),
    ("discussion", "POST", rf"{API}/discussions", writes.open_discussion),
    ("discussion", "GET", rf"{API}/discussions/(?P<path>\d+)", reads.get_discussion),
    ("merge", "POST", rf"{API}/discussions/(?P<path>\d+)/merge", writes.merge),
    ("info", "GET", rf"{API}(?:/revision/{REVISION})?", reads.get_info),
    ("stored", "GET", STORED, reads.get_stored),
    ("resolve", "GET", rf"{GIT}/resolve/{REVISION}/{REST}", reads.get_file),
]
