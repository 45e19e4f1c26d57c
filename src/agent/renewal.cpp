// SPDX-License-Identifier: Apache-2.0
#include "agent/renewal.hpp"

#include "agent/join.hpp"
#include "base/log.hpp"
#include "runtime/openssl.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace culvert::agent {
namespace {

constexpr std::chrono::seconds kLongestPatience{60};
constexpr std::chrono::seconds kShortestPatience{1};
constexpr int kTriesPerLife = 60;

}  // namespace

Result<Validity> validity_of(const std::string& certificate_pem) {
    const auto certificate = runtime::certificate_of(certificate_pem);
    if (!certificate) {
        return fail(Code::kInvalidArgument, "not a certificate");
    }
    return Validity{runtime::time_of(X509_get0_notBefore(certificate.get())),
                    runtime::time_of(X509_get0_notAfter(certificate.get()))};
}

std::string digest_of(const std::string& text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
    unsigned int size = 0;
    EVP_Digest(text.data(), text.size(), raw.data(), &size, EVP_sha256(), nullptr);
    std::string out;
    for (const unsigned char byte : std::span(raw).first(size)) {
        out += fmt::format("{:02x}", byte);
    }
    return out;
}

WallTime renewal_time(const Validity& validity) {
    return validity.from + (validity.until - validity.from) / 3 * 2;
}

Renewal::Renewal(std::filesystem::path data_dir, Identity identity, const Clock& clock)
    : data_dir_(std::move(data_dir)), clock_(clock) {
    state_.with([&](State& state) {
        state.identity = std::make_shared<const Identity>(std::move(identity));
        schedule(state);
    });
}

std::shared_ptr<const Identity> Renewal::identity() const {
    return state_.with([](const State& state) { return state.identity; });
}

RenewalStatus Renewal::status() const {
    return state_.with([](const State& state) { return state.status; });
}

void Renewal::schedule(State& state) const {
    const auto validity = validity_of(state.identity->certificate_pem);
    if (!validity) {
        spdlog::error("agent: read the node's certificate: {}", validity.error().message);
        return;
    }
    state.next = renewal_time(*validity);
    state.patience = std::clamp(std::chrono::duration_cast<std::chrono::seconds>(
                                    (validity->until - validity->from) / kTriesPerLife),
                                kShortestPatience, kLongestPatience);
    state.status.until = validity->until;
}

std::optional<std::string> Renewal::due() {
    return state_.with([&](State& state) -> std::optional<std::string> {
        if (clock_.wall() < state.next) {
            return std::nullopt;
        }
        auto made = make_key_and_request(state.identity->name);
        state.next = clock_.wall() + state.patience;
        if (!made) {
            ++state.status.failures;
            spdlog::error("agent: renew the certificate: {}", made.error().message);
            return std::nullopt;
        }
        state.key_pem = std::move(made->key_pem);
        return std::move(made->request_pem);
    });
}

Status Renewal::store(State& state, const std::string& certificate_pem) const {
    const auto certificate = runtime::certificate_of(certificate_pem);
    const auto key = runtime::key_of(state.key_pem);
    if (!certificate || !key || X509_check_private_key(certificate.get(), key.get()) != 1) {
        return fail(Code::kInvalidArgument, "the certificate is not for the key that was sent");
    }
    Identity next = *state.identity;
    next.certificate_pem = certificate_pem;
    next.key_pem = std::exchange(state.key_pem, {});
    CULVERT_TRY_STATUS(save_credentials(data_dir_, next));
    state.identity = std::make_shared<const Identity>(std::move(next));
    return {};
}

Status Renewal::trust(const std::string& ca_pem, bool renew) {
    return state_.with([&](State& state) -> Status {
        if (!ca_pem.empty() && ca_pem != state.identity->ca_pem) {
            if (!runtime::certificate_of(ca_pem)) {
                return fail(Code::kInvalidArgument, "the authorities to trust are no certificates");
            }
            Identity next = *state.identity;
            next.ca_pem = ca_pem;
            CULVERT_TRY_STATUS(save_trust(data_dir_, next));
            state.identity = std::make_shared<const Identity>(std::move(next));
            spdlog::info("agent: the authorities to trust have changed");
        }
        if (renew) {
            state.next = std::min(state.next, clock_.wall());
        }
        return {};
    });
}

Status Renewal::take(const std::string& certificate_pem, const std::string& error) {
    return state_.with([&](State& state) -> Status {
        auto stored = error.empty() ? store(state, certificate_pem)
                                    : Status(fail(Code::kPermissionDenied, error));
        if (!stored) {
            ++state.status.failures;
            spdlog::error("agent: renew the certificate: {}", stored.error().message);
            return stored;
        }
        ++state.status.renewed;
        schedule(state);
        spdlog::info("agent: the certificate is renewed");
        return {};
    });
}

}  // namespace culvert::agent
