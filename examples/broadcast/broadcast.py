#!/usr/bin/env python3
"""Publishes a file (or a moving picture) to a leat gateway with ffmpeg, and serves a page that
plays it. Needs nothing but Python and ffmpeg."""
import argparse
import functools
import http.server
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

PICTURE = ["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30",
           "-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000"]
# A key frame each two seconds: the gateway cuts there.
CODECS = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-force_key_frames",
          "expr:gte(t,n_forced*2)", "-c:a", "aac", "-b:a", "128k"]


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", help="what to send, again and again; default: a picture")
    parser.add_argument("--name", default="broadcast", help="the stream's name (default %(default)s)")
    parser.add_argument("--rtmp", default="rtmp://127.0.0.1:1935/live",
                        help="where to publish (default %(default)s)")
    parser.add_argument("--gateway", default="http://127.0.0.1:9935",
                        help="where viewers fetch (default %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="of the page (default %(default)s)")
    return parser.parse_args()


def publish(given):
    source = ["-stream_loop", "-1", "-i", given.file] if given.file else PICTURE
    return subprocess.Popen(["ffmpeg", "-nostdin", "-v", "error", "-re", *source, *CODECS,
                             "-f", "flv", f"{given.rtmp}/{given.name}"], start_new_session=True)


class Pages(http.server.SimpleHTTPRequestHandler):
    """The files beside this script, and what they cannot know."""

    def __init__(self, config, *args):
        self.config = config
        super().__init__(*args, directory=str(Path(__file__).parent))

    def do_GET(self):
        if self.path != "/config.json":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(self.config)

    def log_message(self, *_):
        pass


def main():
    given = options()
    config = json.dumps({"gateway": given.gateway, "name": given.name}).encode()
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", given.port),
                                                 functools.partial(Pages, config))
    except OSError as error:
        sys.exit(f"port {given.port}: {error.strerror}; choose another with --port")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ffmpeg = publish(given)
    print(f"watch at http://127.0.0.1:{given.port}/   (Ctrl-C ends the broadcast)", flush=True)
    try:
        status = ffmpeg.wait()
    except KeyboardInterrupt:
        ffmpeg.send_signal(signal.SIGINT)  # ffmpeg says goodbye to the gateway
        ffmpeg.wait(timeout=10)
        return
    sys.exit(f"ffmpeg ended with status {status}; is the gateway running at {given.rtmp}?")


if __name__ == "__main__":
    main()
