"""passo.toml: what is in effect, what is wrong with it; a server for scripts."""

import signal
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path

from deadline import eventually
from passo import ROOT, binary


def written(world, text, name="passo.toml"):
    file = world.folder / name
    file.write_text(text)
    return file


def test_a_wrong_file_is_refused_with_file_and_line_by_every_command(world):
    file = written(world, "# mine\nlissten = \"127.0.0.1:0\"\n\n[services.dynamo]\nendpoint = \"aws\"\n")
    for command in (["config", "check", file], ["serve", "--config", file], ["run", ROOT / "examples/order", "--config", file]):
        done = world.passo(*command)
        assert done.returncode == 2, done
        assert f"{file}:2:1: unknown key 'lissten'; did you mean 'listen'?" in done.stderr
        assert f"{file}:4:11: unknown key 'services.dynamo'" in done.stderr
        assert done.stdout == ""
    assert world.passo("serve", "--config", world.folder / "none.toml").returncode == 2


def test_what_is_in_effect_is_shown_with_where_it_comes_from(world):
    folder = world.home / "config" / "passo"
    folder.mkdir(parents=True)
    file = folder / "passo.toml"
    file.write_text('iam = "on"\n[keys.AKIAMINE]\nsecret = "hush"\n[services.s3]\nendpoint = "aws"\n')
    file.chmod(0o644)
    done = world.passo("config", "check", env={"PASSO_LISTEN": "127.0.0.1:1"})
    assert done.returncode == 0, done.stderr
    shown = {line.split(" = ")[0]: line.split(" = ")[1].split("#") for line in done.stdout.splitlines()}
    shown = {key: (value.strip(), origin.strip()) for key, (value, origin) in shown.items()}
    assert shown["listen"] == ('"127.0.0.1:1"', "PASSO_LISTEN")
    assert shown["iam"] == ('"on"', "passo.toml:1")
    assert shown["ecs"] == ('"auto"', "default")
    assert shown["keys.AKIAMINE.secret"] == ('"…"', "passo.toml:3")
    assert shown["services.s3.endpoint"] == ('"aws"', "passo.toml:5")
    assert "hush" not in done.stdout + done.stderr
    assert "chmod 600" in done.stderr


def test_the_command_line_beats_the_file_and_the_file_the_defaults(world):
    file = written(world, 'iam = "on"\nregion = "eu-west-1"\naccount = "123456789012"\ndata = "mine"\necs = "process"\n')
    server = world.serve("--config", file, "--iam", "off")
    assert "  iam   off" in eventually(lambda: "  ecs " in server.log.read_text() and server.log.read_text())
    assert server.client("sts").get_caller_identity()["Account"] == "123456789012"
    assert server.data.is_dir() and not (world.folder / "mine").exists()


def test_an_ephemeral_server_leaves_nothing_and_says_when_it_is_ready(world):
    ready, temporary = world.folder / "ready", world.folder / "tmp"
    temporary.mkdir()
    ready.write_text("of an earlier server\n")
    process = subprocess.Popen(
        [binary(), "serve", "--listen", "127.0.0.1:0", "--ephemeral", "--ready-file", ready, "--ecs", "process"],
        env=world.environment(TMPDIR=temporary), stderr=subprocess.DEVNULL)
    try:
        url = eventually(lambda: ready.exists() and "http" in ready.read_text() and ready.read_text().strip())
        for path in ("/healthz", "/readyz"):
            assert urllib.request.urlopen(url + path).status == 200
        assert list(temporary.iterdir())
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
    assert not ready.exists() and list(temporary.iterdir()) == []


def test_an_ephemeral_server_has_no_data_directory_of_its_own(world):
    done = world.passo("serve", "--ephemeral", "--data", world.folder / "data")
    assert done.returncode == 2 and "--ephemeral" in done.stderr


def test_a_ready_file_that_cannot_be_written_ends_the_server(world):
    done = world.passo("serve", "--listen", "127.0.0.1:0", "--ephemeral", "--ready-file", world.folder / "no/such/ready")
    assert done.returncode == 3 and "no/such/ready" in done.stderr


def test_mail_goes_to_the_configured_server(world):
    mails = []
    relay = MailServer(mails)
    file = written(world, f'[smtp]\nhost = "127.0.0.1"\nport = {relay.port}\nfrom = "passo@example.com"\n')
    server = world.serve("--config", file)
    sns = server.client("sns")
    topic = sns.create_topic(Name="t")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="to@example.com")
    sns.publish(TopicArn=topic, Message="hello", Subject="greetings")
    mail = eventually(lambda: next((mail for mail in mails if "Subject: greetings" in mail), None), what="the mail")
    assert "MAIL FROM:<passo@example.com>" in mail and "RCPT TO:<to@example.com>" in mail
    assert not list(Path(server.data / "outbox").glob("*.eml"))


class MailServer:
    """Takes every mail; each becomes one text with all that was said."""

    def __init__(self, mails):
        import socket
        self.mails, self.socket = mails, socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            connection, _ = self.socket.accept()
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        said, data = [], False
        with connection, connection.makefile("rwb") as stream:
            def reply(text):
                stream.write(text + b"\r\n")
                stream.flush()
            reply(b"220 here")
            for line in stream:
                text = line.decode().rstrip()
                said.append(text)
                if data:
                    data = text != "."
                    if not data:
                        reply(b"250 taken")
                        self.mails.append("\n".join(said))
                elif text == "DATA":
                    data = True
                    reply(b"354 go on")
                elif text == "QUIT":
                    return reply(b"221 bye")
                else:
                    reply(b"250 ok")
