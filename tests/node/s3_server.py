"""A small S3 server that believes no signature it has not computed itself.

The signature is made here from the specification ("AWS Signature Version 4": canonical request,
string to sign, signing key), with nothing of ours. `script` holds, for each coming request, a
status to answer instead, or "hang"; `objects` what was stored, `requests` how many came.
"""
import calendar
import hashlib
import hmac
import http.server
import re
import threading
import time
import urllib.parse

KEY, SECRET, REGION = "AKEXAMPLE", "se/cr+et:x", "us-east-1"


def digest(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def complaint(method, target, headers, body, secret):
    """Why S3 would refuse this request; None: it is well signed."""
    found = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, "
                         r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
                         headers.get("Authorization", ""))
    if not found:
        return "AccessDenied"
    key, day, region, names, signature = found.groups()
    stamp = headers.get("x-amz-date", "")
    if key != KEY or region != REGION:
        return "InvalidAccessKeyId"
    if not stamp.startswith(day):
        return "AuthorizationHeaderMalformed"
    if abs(calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - time.time()) > 900:
        return "RequestTimeTooSkewed"
    names = names.split(";")
    must = {"host", *(n.lower() for n in headers if n.lower().startswith("x-amz-"))}
    if names != sorted(names) or not must <= set(names):
        return "AccessDenied"
    if headers.get("x-amz-content-sha256") != hashlib.sha256(body).hexdigest():
        return "XAmzContentSHA256Mismatch"
    path, _, query = target.partition("?")
    path = urllib.parse.quote(urllib.parse.unquote(path), safe="/-._~")
    pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
    canonical = "\n".join(
        [method, path, "&".join(f"{urllib.parse.quote(a, '-._~')}={urllib.parse.quote(b, '-._~')}"
                                for a, b in pairs)]
        + [f"{n}:{' '.join(headers[n].split())}" for n in names]
        + ["", ";".join(names), headers["x-amz-content-sha256"]])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, f"{day}/{region}/s3/aws4_request",
                      hashlib.sha256(canonical.encode()).hexdigest()])
    signing = digest(digest(digest(digest(b"AWS4" + secret.encode(), day), region), "s3"),
                     "aws4_request")
    mine = hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
    return None if hmac.compare_digest(mine, signature) else "SignatureDoesNotMatch"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, code=""):
        text = f"<Error><Code>{code}</Code></Error>".encode() if code else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_PUT(self):
        s3 = self.server.s3
        body = self.rfile.read(int(self.headers["Content-Length"]))
        s3.requests += 1
        scripted = s3.script.pop(0) if s3.script else None
        why = complaint("PUT", self.path, self.headers, body, SECRET)
        if scripted == "hang":
            s3.released.wait(30)
            self.close_connection = True
        elif scripted:
            self.answer(scripted, "SlowDown" if scripted == 503 else "Scripted")
        elif why:
            self.answer(403, why)
        elif not self.path.startswith("/bucket/"):
            self.answer(404, "NoSuchBucket")
        else:
            s3.objects[urllib.parse.unquote(self.path[8:])] = (body, dict(self.headers))
            self.answer(200)


class S3:
    def __init__(self):
        self.objects, self.script, self.requests = {}, [], 0
        self.released = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.s3 = self
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, bucket="bucket", secret=SECRET):
        return f"s3+http://{KEY}:{urllib.parse.quote(secret, safe='')}@{self.address}/{bucket}"

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
