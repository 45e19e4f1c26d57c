# SPDX-License-Identifier: Apache-2.0
"""Tokens that were stolen, stretched, or made elsewhere. The true signing key is read from the
store's file, which only root may: it makes tokens that are wrong in one claim alone."""
import base64
import hashlib
import hmac
import json
import sqlite3
import time

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


def b64(data):
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def part(token, number):
    text = token.split(".")[number]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def es256(key, header, claims):
    text = f"{b64(header)}.{b64(claims)}"
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def hs256(secret, header, claims):
    text = f"{b64(header)}.{b64(claims)}"
    return f"{text}.{b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


class Issuer:
    """A token that works, and all that others are made of."""

    def __init__(self, net):
        self.net = net
        net.rest.get("/subscriptions", "2022-12-01")
        self.good = net.rest.token
        self.header, self.claims = part(self.good, 0), part(self.good, 1)
        with sqlite3.connect(f"file:{net.folder}/control/store.db?mode=ro", uri=True) as store:
            (pem,) = store.execute(
                "SELECT value FROM kv WHERE key = ?", (b"/meta/signing-keys",)
            ).fetchone()
        self.key = serialization.load_pem_private_key(bytes(pem), None)
        self.other = ec.generate_private_key(ec.SECP256R1())

    def ask(self, token, scheme="Bearer"):
        return self.net.rest.exchange(
            "GET", "/subscriptions?api-version=2022-12-01", None,
            {"Authorization": f"{scheme} {token}"},
        )

    def signed(self, key=None, header=(), **claims):
        return es256(key or self.key, {**self.header, **dict(header)}, {**self.claims, **claims})


@pytest.fixture(scope="module")
def issuer(net):
    return Issuer(net)


def refused(issuer, ledger, attack, token, code="InvalidAuthenticationToken"):
    answer = issuer.ask(token)
    assert (answer.status, answer.code) == (401, code), f"{attack}: {answer.status} {answer.raw!r}"
    assert "www-authenticate" in answer.headers
    ledger.note("API client", f"token: {attack}", answer.code, "status 401")


def test_the_forge_makes_tokens_that_work(issuer):
    """the control: signed with the true key and nothing wrong"""
    assert issuer.ask(issuer.signed()).status == 200


def test_one_wrong_claim_is_enough(issuer, ledger):
    now = int(time.time())
    refused(issuer, ledger, "expired a second ago", issuer.signed(exp=now - 1),
            "ExpiredAuthenticationToken")
    for attack, claims in (
        ("not valid yet", {"nbf": now + 3600}),
        ("for another audience", {"aud": "https://storage.example/"}),
        ("for a list of audiences", {"aud": [issuer.claims["aud"]]}),
        ("from another issuer", {"iss": "https://sts.example/"}),
        ("of a principal that does not exist", {"oid": "00000000-0000-0000-0000-000000000000"}),
        ("of a principal in another tenant", {"tid": "00000000-0000-0000-0000-000000000000"}),
    ):
        refused(issuer, ledger, attack, issuer.signed(**claims))
    for claim in ("exp", "aud", "iss", "oid", "tid"):
        claims = {name: value for name, value in issuer.claims.items() if name != claim}
        answer = issuer.ask(es256(issuer.key, issuer.header, claims))
        assert answer.status == 401, f"without {claim}: {answer.raw!r}"
        ledger.note("API client", f"token: without {claim}", answer.code, "status 401")
    for attack, value in (("a text", "9999999999"), ("a fraction", 9999999999.5),
                          ("beyond 64 bits", 10**30), ("negative", -1)):
        answer = issuer.ask(issuer.signed(exp=value))
        assert answer.status == 401, f"exp {attack}: {answer.raw!r}"
        ledger.note("API client", f"token: exp is {attack}", answer.code, "status 401")


def test_the_algorithm_is_ours_to_say(issuer, ledger):
    """RFC 8725 2.1, 3.1"""
    text = lambda header: f"{b64({**issuer.header, **header})}.{b64(issuer.claims)}"  # noqa: E731
    for name in ("none", "None", "NONE", "nOnE", ""):
        refused(issuer, ledger, f"alg '{name}', no signature", text({"alg": name}) + ".")
    public = issuer.key.public_key()
    spellings = {
        "PEM": public.public_bytes(serialization.Encoding.PEM,
                                   serialization.PublicFormat.SubjectPublicKeyInfo),
        "DER": public.public_bytes(serialization.Encoding.DER,
                                   serialization.PublicFormat.SubjectPublicKeyInfo),
        "point": public.public_bytes(serialization.Encoding.X962,
                                     serialization.PublicFormat.UncompressedPoint),
    }
    for name, secret in spellings.items():
        refused(issuer, ledger, f"HS256 keyed with the public key ({name})",
                hs256(secret, {**issuer.header, "alg": "HS256"}, issuer.claims))
        refused(issuer, ledger, f"ES256 said, HMAC with the public key ({name})",
                hs256(secret, issuer.header, issuer.claims))
    for name in ("ES384", "RS256", "PS256", "es256", "EdDSA"):
        refused(issuer, ledger, f"alg '{name}'", issuer.signed(header={"alg": name}))
    refused(issuer, ledger, "a critical extension",
            issuer.signed(header={"crit": ["b64"], "b64": False}))


def test_the_key_is_ours_to_choose(issuer, ledger):
    """kid, jwk, jku and x5c of the header are not obeyed"""
    refused(issuer, ledger, "another installation's key", issuer.signed(issuer.other))
    jwk = {"kty": "EC", "crv": "P-256"}
    numbers = issuer.other.public_key().public_numbers()
    jwk |= {"x": b64(numbers.x.to_bytes(32, "big")), "y": b64(numbers.y.to_bytes(32, "big"))}
    for attack, header in (
        ("its own key in the header", {"jwk": jwk}),
        ("its own key by address", {"jku": "https://192.0.2.254/keys"}),
        ("its own certificate", {"x5c": [b64(b"0" * 64)]}),
    ):
        refused(issuer, ledger, attack, issuer.signed(issuer.other, header))
    for kid in ("", "../../../../dev/null", "/dev/null", "' OR '1'='1", "\u0000", "x" * 4000,
                "$(id)", "/meta/signing-keys"):
        refused(issuer, ledger, f"kid {kid[:24]!r}", issuer.signed(header={"kid": kid}))
        refused(issuer, ledger, f"kid {kid[:24]!r}, key of its own",
                issuer.signed(issuer.other, {"kid": kid}))
    for kid in (None, 7, [issuer.header["kid"]], {"a": 1}):
        refused(issuer, ledger, f"kid of type {type(kid).__name__}",
                issuer.signed(header={"kid": kid}))


def test_signatures_have_one_form(issuer, ledger):
    head, body, signature = issuer.good.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    for attack, token in (
        ("no signature", f"{head}.{body}."),
        ("two parts", f"{head}.{body}"),
        ("four parts", f"{issuer.good}.x"),
        ("signature of zeros", f"{head}.{body}.{b64(b'%c' % 0 * 64)}"),
        ("signature cut", f"{head}.{body}.{b64(raw[:63])}"),
        ("signature with more", f"{head}.{body}.{b64(raw + b'x')}"),
        ("another body", f"{head}.{b64({**issuer.claims, 'name': 'root'})}.{signature}"),
        ("padding", f"{head}.{body}.{signature}=="),
        ("the other alphabet", f"{head}.{body}.{b64(bytes([255] * 64)).replace('_', '/')}"),
        ("not JSON", f"{b64(b'{')}.{body}.{signature}"),
        ("nested without end", f"{b64(b'[' * 4000)}.{body}.{signature}"),
        ("20,000 characters", f"{head}.{'A' * 20000}.{signature}"),
    ):
        refused(issuer, ledger, attack, token)


def test_tokens_for_something_else_do_not_open_the_api(net, issuer, ledger):
    """what a sign-in hands out besides the access token: refresh and id tokens"""
    for audience, what in (("https://sts.culvert/refresh", "a refresh token"),
                           (issuer.claims["appid"], "an id token")):
        refused(issuer, ledger, f"{what} as an access token", issuer.signed(aud=audience))
    form = (f"grant_type=refresh_token&client_id={issuer.claims['appid']}"
            f"&refresh_token={issuer.good}")
    answer = net.rest.exchange("POST", "/adfs/oauth2/token", form,
                               {"Content-Type": "application/x-www-form-urlencoded"})
    assert (answer.status, answer.code) == (400, "invalid_grant"), answer.raw
    ledger.note("API client", "token: an access token to refresh with", answer.code, "status 400")
    for scheme in ("Basic", "Bearer Bearer", "", "Negotiate"):
        answer = issuer.ask(issuer.good, scheme)
        assert answer.status == 401, scheme
    ledger.note("API client", "token: under another scheme", answer.code, "status 401")


def test_a_stolen_token_dies_with_its_principal(net, issuer, ledger):
    """a bearer token works for who holds it, until it expires or its principal is deleted"""
    body = {"name": net.name("victim"), "role": "Reader",
            "scope": f"/subscriptions/{net.subscription}"}
    who = net.rest.good("POST", "/culvert/principals", body, None)
    owner = net.rest.other({"client_id": who["clientId"], "client_secret": who["clientSecret"]})
    owner.get(f"/subscriptions/{net.subscription}/resourcegroups", "2024-11-01")
    stolen = owner.token
    assert issuer.ask(stolen).status == 200
    net.rest.delete(f"/culvert/principals/{who['id']}", None)
    refused(issuer, ledger, "stolen, its principal deleted", stolen)
    # nor does the principal come back by signing in, or by one of the same name
    form = (f"grant_type=client_credentials&client_id={who['clientId']}"
            f"&client_secret={who['clientSecret']}")
    answer = net.rest.exchange("POST", "/adfs/oauth2/token", form,
                               {"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 401, answer.raw
    net.rest.good("POST", "/culvert/principals", body, None)
    refused(issuer, ledger, "stolen, another principal has the name", stolen)
    owner.close()
