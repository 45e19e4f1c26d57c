# SPDX-License-Identifier: Apache-2.0
"""az 2.74, unmodified: from registering the cloud to traffic through an endpoint, and all of it
removed again."""
import json

import pytest

LB_API = "2023-04-01"


@pytest.fixture(scope="module")
def ids(net):
    """Ids by short name, as the story goes on."""
    group = f"/subscriptions/{net.subscription}/resourceGroups/shop"
    network = f"{group}/providers/Microsoft.Network"
    return {
        "group": group,
        "lb": f"{network}/loadBalancers/lb",
        "pls": f"{network}/privateLinkServices/pls",
        "provider": f"{network}/virtualNetworks/provider",
        "consumer": f"{network}/virtualNetworks/consumer",
    }


def test_the_cloud_is_registered_and_selected(az, net):
    az("cloud register -n Culvert --endpoint-resource-manager", net.control_url)
    az("cloud set -n Culvert")
    shown = az("cloud show")
    assert shown["name"] == "Culvert" and shown["isActive"]
    assert shown["endpoints"]["resourceManager"].rstrip("/") == net.control_url
    assert shown["endpoints"]["activeDirectory"].rstrip("/").endswith("/adfs")


def test_a_wrong_secret_does_not_sign_in(az, net):
    status, err = az.fails(
        "login --service-principal -u",
        net.bootstrap["client_id"],
        "-p",
        "wrong",
        "--tenant",
        net.bootstrap["tenant"],
    )
    assert status == 1 and "AADSTS" in err


def test_a_user_signs_in_with_a_password(az, net):
    listed = az("login -u", net.bootstrap["user"], "-p", net.bootstrap["password"])
    assert [s["id"] for s in listed] == [net.subscription]
    assert listed[0]["user"] == {"name": net.bootstrap["user"], "type": "user"}
    assert isinstance(az("group list"), list)


def test_a_service_principal_signs_in(az, net):
    az("logout")
    listed = az(
        "login --service-principal -u",
        net.bootstrap["client_id"],
        "-p",
        net.bootstrap["client_secret"],
        "--tenant",
        net.bootstrap["tenant"],
    )
    assert [s["id"] for s in listed] == [net.subscription]
    shown = az("account show")
    assert shown["tenantId"] == net.bootstrap["tenant"] and shown["state"] == "Enabled"
    assert shown["user"]["type"] == "servicePrincipal"


def test_groups(az, ids):
    made = az("group create -n shop -l local --tags owner=me")
    assert made["id"] == ids["group"] and made["properties"]["provisioningState"] == "Succeeded"
    assert made["tags"] == {"owner": "me"}
    assert az("group show -n shop")["name"] == "shop"
    assert az("group exists -n shop") is True and az("group exists -n none") is False
    assert "shop" in [g["name"] for g in az("group list")]


def test_networks_and_subnets_with_policies_disabled(az, ids):
    for name in ("provider", "consumer"):
        made = az(
            "network vnet create -g shop --address-prefixes 10.0.0.0/16 --subnet-name default "
            "--subnet-prefixes 10.0.0.0/24 -n",
            name,
        )["newVNet"]
        assert made["id"] == ids[name] and made["provisioningState"] == "Succeeded"
        assert made["addressSpace"]["addressPrefixes"] == ["10.0.0.0/16"]
    made = az(
        "network vnet subnet create -g shop --vnet-name provider -n nat --address-prefixes "
        "10.0.1.0/24 "
        "--private-link-service-network-policies Disabled"
    )
    assert made["privateLinkServiceNetworkPolicies"] == "Disabled"
    changed = az(
        "network vnet subnet update -g shop --vnet-name provider -n default "
        "--disable-private-link-service-network-policies true"
    )
    assert changed["privateLinkServiceNetworkPolicies"] == "Disabled"
    assert changed["addressPrefix"] == "10.0.0.0/24"
    assert {s["name"] for s in az("network vnet subnet list -g shop --vnet-name provider")} == {
        "default",
        "nat",
    }
    assert az("network vnet subnet show -g shop --vnet-name provider -n nat")["name"] == "nat"
    assert {v["name"] for v in az("network vnet list -g shop")} == {"provider", "consumer"}


def test_a_load_balancer_through_rest(az, ids):
    body = {
        "location": "local",
        "sku": {"name": "Standard"},
        "properties": {
            "frontendIPConfigurations": [
                {
                    "name": "fe",
                    "properties": {"subnet": {"id": f"{ids['provider']}/subnets/default"}},
                }
            ],
            "backendAddressPools": [{"name": "pool"}],
            "loadBalancingRules": [
                {
                    "name": "http",
                    "properties": {
                        "frontendIPConfiguration": {
                            "id": f"{ids['lb']}/frontendIPConfigurations/fe"
                        },
                        "backendAddressPools": [{"id": f"{ids['lb']}/backendAddressPools/pool"}],
                        "frontendPort": 80,
                        "backendPort": 8080,
                        "protocol": "Tcp",
                    },
                }
            ],
        },
    }
    made = az(
        "rest --method put --url", f"{ids['lb']}?api-version={LB_API}", "--body", json.dumps(body)
    )
    assert made["properties"]["provisioningState"] == "Succeeded"
    shown = az("network lb show -g shop -n lb")
    assert shown["sku"]["name"] == "Standard" and shown["probes"] == []
    assert [rule["name"] for rule in shown["loadBalancingRules"]] == ["http"]
    az(
        "network lb rule create -g shop --lb-name lb -n more --protocol Tcp --frontend-port 81 "
        "--backend-port 8080 "
        "--frontend-ip-name fe --backend-pool-name pool"
    )
    rules = az("network lb rule list -g shop --lb-name lb")
    assert {rule["name"]: rule["frontendPort"] for rule in rules} == {"http": 80, "more": 81}
    for name, ports in (
        ("ssh", "--frontend-port 2222"),
        (
            "each",
            "--frontend-port-range-start 5000 --frontend-port-range-end 5009 "
            "--backend-pool-name pool",
        ),
    ):
        made = az(
            "network lb inbound-nat-rule create -g shop --lb-name lb --protocol Tcp "
            f"--backend-port 8080 --frontend-ip fe -n {name} {ports}"
        )
        assert made["name"] == name and made["provisioningState"] == "Succeeded"


def test_interfaces(az, ids):
    made = az(
        "network nic create -g shop -n backend --vnet-name provider --subnet default "
        "--private-ip-address "
        "10.0.0.10 --lb-name lb --lb-address-pools pool"
    )["NewNIC"]
    config = made["ipConfigurations"][0]
    assert config["privateIPAddress"] == "10.0.0.10"
    assert (
        config["loadBalancerBackendAddressPools"][0]["id"].lower()
        == f"{ids['lb']}/backendAddressPools/pool".lower()
    )
    config = az(
        "network nic ip-config inbound-nat-rule add -g shop --nic-name backend -n ipconfig1 "
        "--lb-name lb --inbound-nat-rule ssh"
    )
    assert config["loadBalancerInboundNatRules"][0]["id"] == f"{ids['lb']}/inboundNatRules/ssh"
    shown = az("network lb inbound-nat-rule show -g shop --lb-name lb -n ssh")
    assert shown["backendIPConfiguration"]["id"] == config["id"]
    told = az(
        "network lb list-mapping -g shop -n lb --backend-pool-name pool --request ip=10.0.0.10"
    )
    (mapping,) = told["inboundNatRulePortMappings"]
    assert mapping["inboundNatRuleName"] == "each" and mapping["frontendPort"] == 5000
    az(
        "network nic create -g shop -n client --vnet-name consumer --subnet default "
        "--private-ip-address 10.0.0.10"
    )
    assert {nic["name"] for nic in az("network nic list -g shop")} >= {"backend", "client"}


def test_a_private_link_service(az, ids):
    made = az(
        "network private-link-service create -g shop -n pls --vnet-name provider --subnet nat "
        "--lb-name lb "
        "--lb-frontend-ip-configs fe -l local --visibility",
        "*",
    )
    assert made["id"] == ids["pls"] and made["provisioningState"] == "Succeeded"
    assert made["alias"].startswith("pls.") and made["alias"].endswith(".azure.privatelinkservice")
    assert made["visibility"]["subscriptions"] == ["*"]
    shown = az("network private-link-service show -g shop -n pls")
    assert shown["alias"] == made["alias"] and shown["privateEndpointConnections"] == []
    assert [s["name"] for s in az("network private-link-service list -g shop")] == ["pls"]
    changed = az("network private-link-service update -g shop -n pls --set tags.stage=test")
    assert changed["alias"] == made["alias"] and changed["tags"] == {"stage": "test"}


def test_an_endpoint_by_id_carries_traffic(az, net, ids):
    made = az(
        "network private-endpoint create -g shop -n pe --vnet-name consumer --subnet default -l "
        "local "
        "--connection-name c --private-connection-resource-id",
        ids["pls"],
    )
    assert made["provisioningState"] == "Succeeded"
    state = made["privateLinkServiceConnections"][0]["privateLinkServiceConnectionState"]
    assert state["status"] == "Approved"
    shown = az("network private-endpoint show -g shop -n pe")
    assert shown["privateLinkServiceConnections"][0]["privateLinkServiceId"] == ids["pls"]
    assert [e["name"] for e in az("network private-endpoint list -g shop")] == ["pe"]
    nic = az("network nic show --ids", shown["networkInterfaces"][0]["id"])
    address = nic["ipConfigurations"][0]["privateIPAddress"]
    network = f"{ids['group']}/providers/Microsoft.Network/networkInterfaces"
    backend = net.attach(f"{network}/backend", net.nodes[0], "10.0.0.10")
    client = net.attach(f"{network}/client", net.nodes[0], "10.0.0.10")
    backend.serve(8080, "shop")
    for port in (80, 81, 2222, 5000):
        assert client.ask(address, port, b"x" * 50_000)[0] == "shop"


def test_a_manual_request_is_decided_by_the_owner(az, net, ids):
    made = az(
        "network private-endpoint create -g shop -n asking --vnet-name consumer --subnet default "
        "-l local "
        "--connection-name c --manual-request true --request-message",
        "let me in",
        "--private-connection-resource-id",
        ids["pls"],
    )
    request = made["manualPrivateLinkServiceConnections"][0]
    assert request["privateLinkServiceConnectionState"]["status"] == "Pending"
    connections = az("network private-link-service show -g shop -n pls")[
        "privateEndpointConnections"
    ]
    name = next(c["name"] for c in connections if c["privateEndpoint"]["id"].endswith("/asking"))
    for status in ("Approved", "Rejected"):
        az(
            "network private-link-service connection update -g shop --service-name pls "
            "--connection-status",
            status,
            "--description",
            f"now {status}",
            "-n",
            name,
        )
        shown = az("network private-endpoint show -g shop -n asking")[
            "manualPrivateLinkServiceConnections"
        ][0]
        assert shown["privateLinkServiceConnectionState"]["status"] == status
        assert shown["privateLinkServiceConnectionState"]["description"] == f"now {status}"


def test_connections_by_the_generic_commands(az, ids):
    listed = az("network private-endpoint-connection list --id", ids["pls"])
    asking = next(c for c in listed if c["properties"]["privateEndpoint"]["id"].endswith("/asking"))
    approved = az(
        "network private-endpoint-connection approve --description", "welcome", "--id", asking["id"]
    )
    assert approved["properties"]["privateLinkServiceConnectionState"]["status"] == "Approved"
    rejected = az("network private-endpoint-connection reject --id", asking["id"])
    assert rejected["properties"]["privateLinkServiceConnectionState"]["status"] == "Rejected"


def test_a_deleted_connection_disconnects_its_endpoint(az):
    connections = az("network private-link-service show -g shop -n pls")[
        "privateEndpointConnections"
    ]
    name = next(c["name"] for c in connections if c["privateEndpoint"]["id"].endswith("/asking"))
    az("network private-link-service connection delete -g shop --service-name pls -n", name)
    shown = az("network private-endpoint show -g shop -n asking")[
        "manualPrivateLinkServiceConnections"
    ][0]
    assert shown["privateLinkServiceConnectionState"]["status"] == "Disconnected"


def test_exit_statuses_and_messages_of_failures(az, ids):
    status, err = az.fails("network private-endpoint show -g shop -n none")
    assert status == 3 and "NotFound" in err
    status, err = az.fails("network vnet show -g none -n none")
    assert status == 3 and "ResourceGroupNotFound" in err
    status, _ = az.fails("network vnet create -g shop")
    assert status == 2
    status, err = az.fails("network private-link-service delete -g shop -n pls")
    assert status == 1 and "PrivateLinkServiceWithPrivateEndpointConnectionsCannotBeDeleted" in err
    status, err = az.fails(
        "network vnet subnet create -g shop --vnet-name provider -n clash --address-prefixes",
        "10.0.0.0/25",
    )
    assert status == 1 and "NetcfgSubnetRangesOverlap" in err
    status, err = az.fails(
        "network private-endpoint create -g shop -n bad --vnet-name consumer --subnet default "
        "-l local --connection-name c --private-connection-resource-id",
        ids["pls"] + "x",
    )
    assert status == 1 and "InvalidResourceReference" in err


def test_everything_is_removed_again(az, net, ids):
    for name in ("pe", "asking"):
        az("network private-endpoint delete -g shop -n", name)
    assert az("network private-endpoint list -g shop") == []
    az("network private-link-service delete -g shop -n pls")
    status, err = az.fails("network nic delete -g shop -n backend")
    assert status == 1 and "attached" in err, "a workload still uses it"
    for workload in list(net.workloads.values()):
        net.detach(workload)
    az("network nic delete -g shop -n backend")
    az("network lb delete -g shop -n lb")
    az("group delete -y -n shop")
    assert az("group exists -n shop") is False


def test_az_setup_prints_and_runs_the_commands(net, tmp_path, az):
    from conftest import AZ

    node = net.nodes[0]
    printed = node.culvert("az-setup").stdout
    assert (
        "BEGIN CERTIFICATE" in printed and "az cloud register" in printed and "az login" in printed
    )
    environment = dict(net.environment, AZURE_CONFIG_DIR=str(tmp_path / "config"))
    import subprocess

    from culvert_harness import BIN, ns_command

    (net.folder / "admin").mkdir()
    for name, text in (
        ("bootstrap.json", json.dumps(net.bootstrap)),
        ("installation.json", json.dumps({"control": net.control_url})),
    ):
        (net.folder / "admin" / name).write_text(text)
    for name in ("CULVERT_CLIENT_ID", "CULVERT_CLIENT_SECRET", "CULVERT_TENANT"):
        environment.pop(name, None)
    done = subprocess.run(
        ns_command(
            net.control,
            BIN / "culvert",
            "az-setup",
            "--apply",
            "--az",
            AZ,
            "--ca-out",
            tmp_path / "ca.pem",
            "--data-dir",
            net.folder / "admin",
        ),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    other = dict(
        az.environment,
        AZURE_CONFIG_DIR=str(tmp_path / "config"),
        REQUESTS_CA_BUNDLE=str(tmp_path / "ca.pem"),
    )
    listed = subprocess.run(
        ns_command(net.control, AZ, "account", "list", "--output", "json"),
        env=other,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [s["id"] for s in json.loads(listed.stdout)] == [net.subscription]
