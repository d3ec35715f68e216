"""S3 as its users meet it: boto3, the AWS CLI, presigned addresses, a browser's page, and a server that is killed."""

import base64
import hashlib
import http.client
import json
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

import browser
from deadline import eventually
from passo import ACCOUNT, REGION, aws

MIB = 1024 * 1024


@pytest.fixture
def s3(server):
    return server.client("s3")


@pytest.fixture
def bucket(s3):
    s3.create_bucket(Bucket="bucket")
    return "bucket"


def refusal(call, **words):
    """The code of the error that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call(**words)
    return caught.value.response["Error"]["Code"]


def some_file(path, size):
    """A file of bytes that repeat nowhere near a part's size; returns their digest."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(0, size, MIB):
            block = (hashlib.sha256(str(number).encode()).digest() * (MIB // 32))[: min(MIB, size - number)]
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def digest_of(path):
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(url, method="GET", body=None, headers=None):
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


# --- boto3 -----------------------------------------------------------------------------------------------------------

def test_the_transfer_manager_moves_a_file_up_and_down_in_parts(server, s3, bucket, tmp_path):
    digest = some_file(tmp_path / "up", 21 * MIB + 17)
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    resource = boto3.resource(
        "s3", endpoint_url=server.endpoint, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")
    target = resource.Bucket(bucket).Object("folder/up")
    target.upload_file(str(tmp_path / "up"), ExtraArgs={"Metadata": {"from": "boto3"}}, Config=parts)
    assert target.e_tag.endswith('-5"') and target.metadata == {"from": "boto3"}
    target.download_file(str(tmp_path / "down"), Config=parts)
    assert digest_of(tmp_path / "down") == digest
    s3.copy({"Bucket": bucket, "Key": "folder/up"}, bucket, "copy", Config=parts)
    resource.Bucket(bucket).download_file("copy", str(tmp_path / "copied"), Config=parts)
    assert digest_of(tmp_path / "copied") == digest
    assert [found.key for found in resource.Bucket(bucket).objects.filter(Prefix="folder/")] == ["folder/up"]
    resource.Bucket(bucket).objects.all().delete()
    assert list(resource.Bucket(bucket).objects.all()) == []


def peak_memory(server):
    """The most the server had in memory until now, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_a_large_object_is_never_held_in_memory(server, s3, bucket, tmp_path):
    size = 160 * MIB
    digest = some_file(tmp_path / "up", size)
    s3.put_object(Bucket=bucket, Key="warm", Body=b"x" * MIB)
    before = peak_memory(server)
    with (tmp_path / "up").open("rb") as file:
        s3.put_object(Bucket=bucket, Key="large", Body=file)
    found = hashlib.sha256()
    for piece in s3.get_object(Bucket=bucket, Key="large")["Body"].iter_chunks(MIB):
        found.update(piece)
    assert found.hexdigest() == digest
    assert peak_memory(server) - before < size // 3


def test_an_object_that_is_deleted_while_it_is_read_is_read_to_its_end(s3, bucket, tmp_path):
    digest = some_file(tmp_path / "up", 24 * MIB)
    with (tmp_path / "up").open("rb") as file:
        s3.put_object(Bucket=bucket, Key="large", Body=file)
    body = s3.get_object(Bucket=bucket, Key="large")["Body"]
    first = body.read(1)
    s3.delete_object(Bucket=bucket, Key="large")
    assert hashlib.sha256(first + body.read()).hexdigest() == digest
    assert refusal(s3.get_object, Bucket=bucket, Key="large") == "NoSuchKey"


def test_parts_are_sent_copied_listed_and_aborted(s3, bucket):
    s3.put_object(Bucket=bucket, Key="source", Body=b"s" * (6 * MIB))
    upload = s3.create_multipart_upload(Bucket=bucket, Key="key", ChecksumAlgorithm="CRC32")["UploadId"]
    words = {"Bucket": bucket, "Key": "key", "UploadId": upload}
    sent = s3.upload_part(**words, PartNumber=1, Body=b"a" * (5 * MIB), ChecksumAlgorithm="CRC32")
    copied = s3.upload_part_copy(
        **words, PartNumber=2, CopySource=f"{bucket}/source", CopySourceRange=f"bytes=0-{5 * MIB - 1}")["CopyPartResult"]
    last = s3.upload_part(**words, PartNumber=3, Body=b"end", ChecksumAlgorithm="CRC32")
    listed = s3.list_parts(**words, MaxParts=2)
    assert [part["Size"] for part in listed["Parts"]] == [5 * MIB, 5 * MIB] and listed["IsTruncated"]
    assert [found["Key"] for found in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["key"]
    parts = [{"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}
             for number, part in enumerate((sent, copied, last), 1)]
    assert refusal(s3.complete_multipart_upload, **words, MultipartUpload={"Parts": parts[:0]}) == "MalformedXML"
    assert refusal(s3.complete_multipart_upload, **words, MultipartUpload={"Parts": parts[::-1]}) == "InvalidPartOrder"
    assert refusal(
        s3.complete_multipart_upload, **words, MultipartUpload={"Parts": [{**parts[0], "ETag": '"x"'}]}) == "InvalidPart"
    done = s3.complete_multipart_upload(**words, MultipartUpload={"Parts": parts})
    assert done["ETag"].endswith('-3"') and done["ChecksumCRC32"].endswith("-3")
    head = s3.head_object(Bucket=bucket, Key="key", PartNumber=2)
    assert (head["PartsCount"], head["ContentLength"]) == (3, 5 * MIB)
    assert s3.get_object(Bucket=bucket, Key="key", Range="bytes=-4")["Body"].read() == b"send"
    small = s3.create_multipart_upload(Bucket=bucket, Key="small")["UploadId"]
    words = {"Bucket": bucket, "Key": "small", "UploadId": small}
    tags = [s3.upload_part(**words, PartNumber=number, Body=b"x")["ETag"] for number in (1, 2)]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    assert refusal(s3.complete_multipart_upload, **words, MultipartUpload={"Parts": parts}) == "EntityTooSmall"
    s3.abort_multipart_upload(**words)
    assert refusal(s3.list_parts, **words) == "NoSuchUpload"


NINE = b"123456789"
# The published check values of the nine digits.
CHECKSUMS = {
    "CRC32": "y/Q5Jg==", "CRC32C": "4waSgw==", "CRC64NVME": "rosUhgp5mIg=",
    "SHA1": base64.b64encode(hashlib.sha1(NINE).digest()).decode(),
    "SHA256": base64.b64encode(hashlib.sha256(NINE).digest()).decode(),
}


@pytest.mark.parametrize("algorithm", CHECKSUMS)
def test_a_checksum_is_compared_kept_and_given_back(s3, bucket, algorithm):
    name, value = f"Checksum{algorithm}", CHECKSUMS[algorithm]
    s3.put_object(Bucket=bucket, Key="key", Body=NINE, **{name: value})
    assert s3.head_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED")[name] == value
    attributes = s3.get_object_attributes(Bucket=bucket, Key="key", ObjectAttributes=["Checksum", "ObjectSize"])
    assert (attributes["Checksum"][name], attributes["ObjectSize"]) == (value, 9)
    assert refusal(s3.put_object, Bucket=bucket, Key="bad", Body=b"987654321", **{name: value}) == "BadDigest"
    assert refusal(s3.head_object, Bucket=bucket, Key="bad") == "404"


def test_writes_and_reads_on_condition(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="key", Body=b"1", IfNoneMatch="*")["ETag"]
    assert refusal(s3.put_object, Bucket=bucket, Key="key", Body=b"2", IfNoneMatch="*") == "PreconditionFailed"
    assert refusal(s3.put_object, Bucket=bucket, Key="key", Body=b"2", IfMatch='"x"') == "PreconditionFailed"
    assert refusal(s3.put_object, Bucket=bucket, Key="none", Body=b"2", IfMatch=etag) == "NoSuchKey"
    changed = s3.put_object(Bucket=bucket, Key="key", Body=b"2", IfMatch=etag)["ETag"]
    assert refusal(s3.get_object, Bucket=bucket, Key="key", IfMatch=etag) == "PreconditionFailed"
    assert refusal(s3.get_object, Bucket=bucket, Key="key", IfNoneMatch=changed) == "304"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="key")["UploadId"]
    words = {"Bucket": bucket, "Key": "key", "UploadId": upload}
    parts = {"Parts": [{"PartNumber": 1, "ETag": s3.upload_part(**words, PartNumber=1, Body=b"3")["ETag"]}]}
    assert refusal(s3.complete_multipart_upload, **words, MultipartUpload=parts, IfNoneMatch="*") == "PreconditionFailed"
    s3.complete_multipart_upload(**words, MultipartUpload=parts, IfMatch=changed)
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"3"


def test_versions_markers_and_copies(s3, bucket):
    s3.put_object(Bucket=bucket, Key="key", Body=b"null", Tagging="a=1")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="key", Body=b"first", Metadata={"m": "1"}, Tagging="a=1&b=2")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="key")
    assert marker["DeleteMarker"]
    listed = s3.list_object_versions(Bucket=bucket)
    assert [version["VersionId"] for version in listed["Versions"]] == [first, "null"]
    assert [found["VersionId"] for found in listed["DeleteMarkers"]] == [marker["VersionId"]]
    copied = s3.copy_object(
        Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "key", "VersionId": first})
    assert copied["CopySourceVersionId"] == first
    found = s3.get_object(Bucket=bucket, Key="copy")
    assert (found["Body"].read(), found["Metadata"], found["TagCount"]) == (b"first", {"m": "1"}, 2)
    s3.copy_object(
        Bucket=bucket, Key="copy", CopySource=f"{bucket}/copy", MetadataDirective="REPLACE", Metadata={"m": "2"},
        ContentType="text/plain", TaggingDirective="REPLACE", Tagging="c=3")
    found = s3.head_object(Bucket=bucket, Key="copy")
    assert (found["Metadata"], found["ContentType"]) == ({"m": "2"}, "text/plain")
    assert s3.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"] == [{"Key": "c", "Value": "3"}]
    assert refusal(s3.copy_object, Bucket=bucket, Key="copy", CopySource=f"{bucket}/copy") == "InvalidRequest"
    every = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for kind in ("Versions", "DeleteMarkers")
             for entry in s3.list_object_versions(Bucket=bucket).get(kind, [])]
    assert refusal(s3.delete_bucket, Bucket=bucket) == "BucketNotEmpty"
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": every})
    assert len(gone["Deleted"]) == len(every) and "Errors" not in gone
    s3.delete_bucket(Bucket=bucket)
    assert refusal(s3.head_bucket, Bucket=bucket) == "404"


def test_listings_by_delimiter_and_in_pages(s3, bucket):
    keys = sorted(["a/1", "a/2", "a/b/3", "b", "c/4", "d é+&<>", "e/"])
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    for operation in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
        assert [entry["Key"] for page in pages for entry in page["Contents"]] == keys
        pages = s3.get_paginator(operation).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 2})
        pages = list(pages)
        found = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        folders = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
        assert (found, folders) == (["b", "d é+&<>"], ["a/", "c/", "e/"])
    after = s3.list_objects_v2(Bucket=bucket, Prefix="a/", StartAfter="a/1", Delimiter="/", FetchOwner=True)
    assert [entry["Key"] for entry in after["Contents"]] == ["a/2"] and "Owner" in after["Contents"][0]
    assert [entry["Prefix"] for entry in after["CommonPrefixes"]] == ["a/b/"]


# --- what Terraform and CloudFormation read --------------------------------------------------------------------------

def test_a_fresh_bucket_answers_every_question_of_terraform(s3, bucket):
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    assert s3.get_bucket_acl(Bucket=bucket)["Grants"][0]["Permission"] == "FULL_CONTROL"
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"] == [
        {"ObjectOwnership": "BucketOwnerEnforced"}]
    missing = {
        "get_bucket_policy": "NoSuchBucketPolicy", "get_bucket_policy_status": "NoSuchBucketPolicy",
        "get_bucket_cors": "NoSuchCORSConfiguration", "get_bucket_website": "NoSuchWebsiteConfiguration",
        "get_bucket_lifecycle_configuration": "NoSuchLifecycleConfiguration", "get_bucket_tagging": "NoSuchTagSet",
        "get_bucket_replication": "ReplicationConfigurationNotFoundError",
        "get_object_lock_configuration": "ObjectLockConfigurationNotFoundError",
        "get_public_access_block": "NoSuchPublicAccessBlockConfiguration",
    }
    for operation, code in missing.items():
        assert refusal(getattr(s3, operation), Bucket=bucket) == code


def test_configurations_are_kept_over_a_restart(server, s3, bucket):
    lifecycle = {"Rules": [{
        "ID": "old", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}]}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=lifecycle)
    block = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": False}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    cors = {"CORSRules": [{
        "ID": "app", "AllowedOrigins": ["https://app.example"], "AllowedMethods": ["PUT", "GET"],
        "AllowedHeaders": ["*"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60}]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=cors)
    server.kill()
    server.start()
    s3 = server.client("s3")
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == lifecycle["Rules"]
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == block
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == cors["CORSRules"]
    s3.delete_bucket_cors(Bucket=bucket)
    assert refusal(s3.get_bucket_cors, Bucket=bucket) == "NoSuchCORSConfiguration"


# --- a server that is killed -----------------------------------------------------------------------------------------

def test_what_was_acknowledged_survives_kill_9_and_nothing_half_written_is_seen(server, s3, bucket):
    acknowledged, stop = {}, threading.Event()

    def write(writer):
        client, number = server.client("s3"), 0
        while not stop.is_set():
            key, body = f"{writer}-{number}", f"{writer}-{number}-".encode() * (200_000 if number % 3 == 0 else 10)
            try:
                client.put_object(Bucket=bucket, Key=key, Body=body)
            except Exception:
                return  # The server is gone.
            acknowledged[key] = hashlib.md5(body).hexdigest()
            number += 1

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for writer in writers:
        writer.start()
    eventually(lambda: len(acknowledged) >= 12, 60)
    server.kill()
    stop.set()
    for writer in writers:
        writer.join()
    server.start()
    s3 = server.client("s3")
    listed = {entry["Key"]: entry for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
              for entry in page["Contents"]}
    assert set(acknowledged) <= set(listed)
    for key, entry in listed.items():
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        digest = hashlib.md5(body).hexdigest()
        assert (entry["ETag"], entry["Size"]) == (f'"{digest}"', len(body))
        assert acknowledged.get(key, digest) == digest
    files = [file for file in (server.data / "services" / "s3").rglob("*") if file.is_file()]
    assert len(files) == len(listed), "bytes that no object has are swept"


def heard(server, url):
    """The next message of a queue."""
    client = server.client("sqs")

    def receive():
        return client.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages")

    message = eventually(receive, 60, "a message")[0]
    client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return json.loads(message["Body"])


def test_an_event_survives_with_the_object_it_tells_of(server, s3, bucket):
    url = server.client("sqs").create_queue(QueueName="heard")["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:heard"
    policy = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": ["events.amazonaws.com", "s3.amazonaws.com"]},
        "Action": "sqs:SendMessage", "Resource": arn}]}
    server.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    events = server.client("events")
    events.put_rule(Name="objects", EventPattern=json.dumps(
        {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": {"bucket": {"name": [bucket]}}}))
    events.put_targets(Rule="objects", Targets=[{"Id": "queue", "Arn": arn}])
    configuration = {"EventBridgeConfiguration": {}, "QueueConfigurations": [
        {"Id": "gone", "QueueArn": arn, "Events": ["s3:ObjectRemoved:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
    found = s3.get_bucket_notification_configuration(Bucket=bucket)
    assert found["EventBridgeConfiguration"] == {} and found["QueueConfigurations"] == configuration["QueueConfigurations"]
    assert heard(server, url)["Event"] == "s3:TestEvent"
    s3.put_object(Bucket=bucket, Key="folder/key", Body=b"12345")
    server.kill()
    server.start()
    event = heard(server, url)
    assert event["detail-type"] == "Object Created" and event["resources"] == [f"arn:aws:s3:::{bucket}"]
    assert event["detail"]["object"]["key"] == "folder/key" and event["detail"]["object"]["size"] == 5
    assert event["detail"]["reason"] == "PutObject"
    server.client("s3").delete_object(Bucket=bucket, Key="folder/key")
    record = heard(server, url)["Records"][0]
    assert (record["eventName"], record["s3"]["object"]["key"]) == ("ObjectRemoved:Delete", "folder/key")


# --- presigned -------------------------------------------------------------------------------------------------------

def test_presigned_addresses_in_both_styles(server, bucket):
    words = {"Bucket": bucket, "Key": "a b"}
    client = server.client("s3", signature_version="s3v4", s3={"addressing_style": "path"})
    url = client.generate_presigned_url("put_object", Params={**words, "ContentType": "text/plain"})
    assert fetch(url, "PUT", b"body", {"Content-Type": "text/plain"})[0] == 200
    url = client.generate_presigned_url("get_object", Params={**words, "ResponseContentType": "text/x"})
    status, body, headers = fetch(url)
    assert (status, body, headers["Content-Type"]) == (200, b"body", "text/x")
    assert fetch(client.generate_presigned_url("get_object", Params=words, ExpiresIn=-1))[0] == 400
    # Names below localhost need not be known to the machine, so the request says its host itself.
    client = boto3.client(
        "s3", endpoint_url=f"http://s3.localhost:{server.listen.split(':')[1]}", region_name=REGION,
        aws_access_key_id="test", aws_secret_access_key="test",
        config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"}))
    parts = urlsplit(client.generate_presigned_url("get_object", Params=words))
    assert parts.hostname == f"{bucket}.s3.localhost"
    url = f"http://{server.listen}{parts.path}?{parts.query}"
    assert fetch(url, headers={"Host": parts.netloc})[:2] == (200, b"body")


def form(fields, file, name="cat.txt"):
    """A form as browsers send it."""
    parts = [f'--XX\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()]
    head = f'--XX\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return "".join(parts).encode() + head.encode() + file + b"\r\n--XX--\r\n", "multipart/form-data; boundary=XX"


def test_a_presigned_form_does_what_its_policy_allows(s3, bucket):
    post = s3.generate_presigned_post(
        bucket, "in/${filename}", Fields={"success_action_status": "201"},
        Conditions=[{"success_action_status": "201"}, ["content-length-range", 1, 8 * MIB]])
    body, content_type = form(post["fields"], b"f" * (3 * MIB))
    status, answer, _ = fetch(post["url"], "POST", body, {"Content-Type": content_type})
    assert status == 201 and b"<Key>in/cat.txt</Key>" in answer
    assert s3.head_object(Bucket=bucket, Key="in/cat.txt")["ContentLength"] == 3 * MIB
    for fields, file, code in (
            ({**post["fields"], "key": "out"}, b"1", b"AccessDenied"),
            ({**post["fields"], "x-amz-meta-a": "b"}, b"1", b"AccessDenied"),
            (post["fields"], b"", b"EntityTooSmall"), (post["fields"], b"f" * (9 * MIB), b"EntityTooLarge")):
        body, content_type = form(fields, file)
        status, answer, _ = fetch(post["url"], "POST", body, {"Content-Type": content_type})
        assert status in (400, 403) and code in answer, answer
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["in/cat.txt"]


# --- a browser -------------------------------------------------------------------------------------------------------

SCRIPT = """
const told = {}, {put, post, get, shut, states} = ADDRESSES;
const attempt = async (name, run) => {
    try { const answer = await run(); told[name] = [answer.status, answer.headers.get('etag'), await answer.text()]; }
    catch (error) { told[name] = 'blocked'; }
};
await attempt('put', () => fetch(put, {method: 'PUT', body: 'from the page', headers: {'x-amz-meta-a': 'b'}}));
const fields = new FormData();
Object.entries(post.fields).forEach(([name, value]) => fields.append(name, value));
fields.append('file', new Blob(['x'.repeat(3000000)]), 'picture.png');
await attempt('post', () => fetch(post.url, {method: 'POST', body: fields}));
await attempt('get', () => fetch(get));
await attempt('shut', () => fetch(shut, {method: 'PUT', body: 'never'}));
await attempt('unsigned', () => fetch(put.split('?')[0], {method: 'PUT', body: 'never'}));
await attempt('states', () => fetch(states, {method: 'POST', body: '{}', headers: {'x-amz-target': 'AWSStepFunctions.ListActivities'}}));
await report(told);
"""


@pytest.mark.skipif(browser.missing() is not None, reason=str(browser.missing()))
def test_a_page_uploads_where_the_bucket_lets_its_origin_in_and_nowhere_else(server, s3, bucket, tmp_path):
    page = browser.Page(tmp_path)
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [{
        "AllowedOrigins": [page.origin], "AllowedMethods": ["PUT", "POST", "GET"], "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"]}]})
    s3.create_bucket(Bucket="shut")
    s3.put_bucket_cors(Bucket="shut", CORSConfiguration={"CORSRules": [{
        "AllowedOrigins": ["https://app.example"], "AllowedMethods": ["PUT"], "AllowedHeaders": ["*"]}]})
    client = server.client("s3", signature_version="s3v4")
    words = {"Bucket": bucket, "Key": "page"}
    addresses = {
        "put": client.generate_presigned_url("put_object", Params={**words, "Metadata": {"a": "b"}}),
        "get": client.generate_presigned_url("get_object", Params=words),
        "post": client.generate_presigned_post(bucket, "in/${filename}"),
        "shut": client.generate_presigned_url("put_object", Params={"Bucket": "shut", "Key": "page"}),
        "states": server.endpoint + "/",
    }
    told = page.show(SCRIPT.replace("ADDRESSES", json.dumps(addresses)))
    etag = '"' + hashlib.md5(b"from the page").hexdigest() + '"'
    assert told["put"] == [200, etag, ""]
    assert told["post"][0] == 204
    assert told["get"] == [200, etag, "from the page"]
    assert (told["shut"], told["unsigned"], told["states"]) == ("blocked",) * 3
    assert s3.head_object(Bucket=bucket, Key="in/picture.png")["ContentLength"] == 3_000_000
    assert s3.head_object(**words)["Metadata"] == {"a": "b"}
    assert s3.list_objects_v2(Bucket="shut")["KeyCount"] == 0


def test_a_refused_page_is_told_nothing(server, bucket):
    connection = http.client.HTTPConnection(server.listen, timeout=90)
    for method, path in (("OPTIONS", f"/{bucket}/key"), ("PUT", f"/{bucket}/key"), ("GET", "/local/info")):
        connection.request(method, path, headers={
            "Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 403
        assert not any(name.lower().startswith("access-control-") for name, _ in answer.getheaders())


# --- the AWS CLI -----------------------------------------------------------------------------------------------------

def cli(server, *words):
    done = aws(server, *words)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def test_the_high_level_commands_of_the_cli(server, tmp_path):
    site = tmp_path / "site"
    (site / "css").mkdir(parents=True)
    (site / "index.html").write_text("<h1>site</h1>")
    (site / "css" / "a.css").write_text("h1 {}")
    digest = some_file(site / "large.bin", 17 * MIB)
    cli(server, "s3", "mb", "s3://site")
    cli(server, "s3", "sync", site, "s3://site")
    assert "upload" not in cli(server, "s3", "sync", site, "s3://site")
    listed = cli(server, "s3", "ls", "s3://site", "--recursive")
    assert [line.split()[-1] for line in listed.splitlines()] == ["css/a.css", "index.html", "large.bin"]
    cli(server, "s3", "cp", "s3://site/large.bin", tmp_path / "down")
    assert digest_of(tmp_path / "down") == digest
    cli(server, "s3", "mv", "s3://site/index.html", "s3://site/old/index.html")
    (site / "index.html").unlink()
    (site / "css" / "a.css").unlink()
    cli(server, "s3", "sync", site, "s3://site", "--delete", "--exclude", "old/*")
    listed = cli(server, "s3", "ls", "s3://site", "--recursive")
    assert [line.split()[-1] for line in listed.splitlines()] == ["large.bin", "old/index.html"]
    url = cli(server, "s3", "presign", "s3://site/old/index.html").strip()
    assert fetch(url)[:2] == (200, b"<h1>site</h1>")
    assert aws(server, "s3", "rb", "s3://site").returncode != 0
    cli(server, "s3", "rb", "s3://site", "--force")
    assert cli(server, "s3", "ls") == ""


def test_the_low_level_commands_of_the_cli(server, tmp_path):
    (tmp_path / "body").write_bytes(b"0123456789")
    cli(server, "s3api", "create-bucket", "--bucket", "low", "--object-ownership", "BucketOwnerEnforced")
    put = json.loads(cli(
        server, "s3api", "put-object", "--bucket", "low", "--key", "k", "--body", tmp_path / "body",
        "--checksum-algorithm", "SHA256", "--metadata", "a=b", "--server-side-encryption", "AES256"))
    assert put["ServerSideEncryption"] == "AES256"
    got = json.loads(cli(server, "s3api", "get-object", "--bucket", "low", "--key", "k", "--range", "bytes=2-4", tmp_path / "part"))
    assert (tmp_path / "part").read_bytes() == b"234" and got["Metadata"] == {"a": "b"}
    listed = json.loads(cli(server, "s3api", "list-objects-v2", "--bucket", "low"))
    assert [entry["Key"] for entry in listed["Contents"]] == ["k"]
    refused = aws(server, "s3api", "put-object-acl", "--bucket", "low", "--key", "k", "--acl", "public-read")
    assert "AccessControlListNotSupported" in refused.stderr
    refused = aws(server, "s3api", "put-bucket-website", "--bucket", "low", "--website-configuration",
                  '{"IndexDocument": {"Suffix": "index.html"}}')
    assert "s3:PutBucketWebsite is not implemented" in refused.stderr
