"""What ItemReader reads, out of the embedded S3: Parquet alone, from a listing and by a manifest."""

import json

from passo import ACCOUNT, ROOT

ROLE = f"arn:aws:iam::{ACCOUNT}:role/reader"
DATA = ROOT / "crates/integrations/src/items/parquet/testdata"


def machine(action, arguments, config):
    return json.dumps({"QueryLanguage": "JSONata", "StartAt": "Each", "States": {"Each": {
        "Type": "Map", "End": True,
        "ItemReader": {"Resource": f"arn:aws:states:::s3:{action}", "Arguments": arguments, "ReaderConfig": config},
        "ItemSelector": {"row": "{% $states.context.Map.Item.Value %}", "from": "{% $states.context.Map.Item.Source %}"},
        "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
                          "StartAt": "One", "States": {"One": {"Type": "Pass", "End": True}}}}}})


def test_rows_of_parquet_files_are_items(world):
    server = world.serve("--iam", "off")
    s3, client = server.client("s3"), server.client("stepfunctions")
    s3.create_bucket(Bucket="rows")
    for name in ("flat-snappy", "nested-v2"):
        s3.put_object(Bucket="rows", Key=f"in/{name}.parquet", Body=(DATA / f"{name}.parquet").read_bytes())
    s3.put_object(Bucket="rows", Key="q-manifest.csv", Body="s3://rows/in/nested-v2.parquet\n")
    flat, nested = (json.loads((DATA / f"{name}.json").read_text()) for name in ("flat", "nested"))
    parquet = {"InputType": "PARQUET"}
    cases = [
        ("getObject", {"Bucket": "rows", "Key": "in/flat-snappy.parquet"}, parquet, flat,
         ["S3://rows/in/flat-snappy.parquet"] * len(flat)),
        ("getObject", {"Bucket": "rows", "Key": "q-manifest.csv"}, parquet | {"ManifestType": "ATHENA_DATA"}, nested,
         ["S3://rows/in/nested-v2.parquet"] * len(nested)),
        ("listObjectsV2", {"Bucket": "rows", "Prefix": "in/"}, parquet | {"Transformation": "LOAD_AND_FLATTEN"}, flat + nested,
         ["S3://rows/in/flat-snappy.parquet"] * len(flat) + ["S3://rows/in/nested-v2.parquet"] * len(nested)),
    ]
    for number, (action, arguments, config, rows, sources) in enumerate(cases):
        arn = client.create_state_machine(
            name=f"read-{number}", definition=machine(action, arguments, config), roleArn=ROLE)["stateMachineArn"]
        execution = client.start_execution(stateMachineArn=arn)["executionArn"]
        server.ended(execution)
        told = client.describe_execution(executionArn=execution)
        assert told["status"] == "SUCCEEDED", told
        assert json.loads(told["output"]) == [{"row": row, "from": source} for row, source in zip(rows, sources, strict=True)]
