# SPDX-License-Identifier: Apache-2.0
"""Who changed what, for those who may know."""
import json
import urllib.parse

from culvert_harness import RESOURCES


def records(rest, **query):
    text = "&".join(f"{name}={value}" for name, value in {"limit": 1000, **query}.items())
    return rest.good("GET", f"/culvert/audit?{text}", None, None)["value"]


def stranger(net):
    """the owner of another tenant, and a subscription of its own"""
    tenant = net.rest.good("POST", "/culvert/tenants", {"name": net.name("other")}, None)["id"]
    body = {"name": net.name("sub"), "tenant": tenant}
    subscription = net.rest.good("POST", "/culvert/subscriptions", body, None)["id"]
    body = {"name": net.name("owner"), "tenant": tenant, "role": "Owner", "scope": "/"}
    made = net.rest.good("POST", "/culvert/principals", body, None)
    credentials = {"client_id": made["clientId"], "client_secret": made["clientSecret"]}
    return net.rest.other(credentials), subscription, made


def test_a_write_is_recorded_with_who_from_where_and_what_changed(net):
    group = net.group()
    answer = net.rest.call("PUT", group, {"location": "local", "tags": {"a": "b"}}, RESOURCES)
    made, changed = records(net.rest, resource=group)
    assert made["changes"][0]["what"] == "created"
    assert changed["requestId"] == answer.headers["x-ms-request-id"]
    assert changed["caller"]["name"] == "culvert-owner" and changed["from"]
    assert changed["operation"] == "Microsoft.Resources/resourceGroups/write"
    assert changed["changes"][0]["diff"] == [{"path": "tags.a", "after": "b"}]
    before = len(records(net.rest))
    assert net.rest.call("PUT", group, {"location": 7}, RESOURCES).status == 400
    assert len(records(net.rest)) == before, "what was refused changed nothing"
    shown = json.loads(
        net.nodes[0]
        .culvert("audit", "list", "--resource", group, "--since", "1h", "--output", "json")
        .stdout
    )
    assert shown == [made, changed]
    table = net.nodes[0].culvert("audit", "list", "--resource", group).stdout
    assert "culvert-owner" in table and group in table


def test_another_tenant_sees_nothing_and_a_reader_what_it_may_read(net):
    other, subscription, _ = stranger(net)
    mine, theirs = net.group(), net.group(subscription=subscription, rest=other)
    assert not records(other, resource=mine) and not records(net.rest, resource=theirs)
    seen = records(other)
    assert [r["resource"] for r in seen if "resourceGroups" in r["resource"]] == [theirs]
    assert net.subscription not in json.dumps(seen)

    hidden = net.group()
    body = {"name": net.name("reader"), "role": "Reader", "scope": mine}
    made = net.rest.good("POST", "/culvert/principals", body, None)
    reader = net.rest.other({"client_id": made["clientId"], "client_secret": made["clientSecret"]})
    assert records(reader, resource=mine) and not records(reader, resource=hidden)
    assert {r["resource"] for r in records(reader)} == {mine}, "no nodes, principals or sign-ins"


def test_principals_tokens_and_refused_sign_ins_are_recorded_without_secrets(net):
    _, _, made = stranger(net)
    net.rest.good("POST", "/culvert/join-tokens", {"name": "never"}, None)
    form = urllib.parse.urlencode(
        {
            "grant_type": "client_credentials",
            "client_id": net.bootstrap["client_id"],
            "client_secret": "wrong-secret",
        }
    )
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert net.rest.exchange("POST", "/adfs/oauth2/token", form, kind).status == 401
    all_of_them = records(net.rest)
    operations = {r["operation"] for r in all_of_them}
    assert {"signIn", "Culvert/join-tokens/write", "Culvert/join/write"} <= operations
    refused = [r for r in all_of_them if r["operation"] == "signIn"]
    assert refused[-1]["caller"]["name"] == net.bootstrap["client_id"] and refused[-1]["from"]
    text = json.dumps(all_of_them)
    for secret in (made["clientSecret"], "wrong-secret", "argon2"):
        assert secret not in text
