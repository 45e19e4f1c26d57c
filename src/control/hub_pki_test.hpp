// SPDX-License-Identifier: Apache-2.0
// A certificate authority for tests: P-256, valid for an hour.
#pragma once

#include "control/hub.hpp"

#include <cstdint>
#include <memory>
#include <string>

struct evp_pkey_st;
struct x509_st;

namespace culvert::control::scene {

struct KeyPair {
    std::string certificate_pem;
    std::string key_pem;
};

class Authority {
  public:
    explicit Authority(const std::string& name);
    ~Authority();
    Authority(const Authority&) = delete;
    Authority& operator=(const Authority&) = delete;

    const std::string& pem() const { return pem_; }
    // For 127.0.0.1 and the common name; `serial` is also the number in the certificate. `expired`:
    // an hour ago.
    KeyPair issue(const std::string& common_name, std::uint64_t serial, bool expired = false) const;
    // The certificate of a request's key.
    std::string sign(const std::string& csr_pem, const std::string& common_name,
                     std::uint64_t serial) const;

  private:
    std::string issue_for(evp_pkey_st* key, const std::string& common_name, std::uint64_t serial,
                          bool expired) const;

    std::string name_;
    std::string pem_;
    evp_pkey_st* key_ = nullptr;
    x509_st* certificate_ = nullptr;
};

// Of a hub at any free port of 127.0.0.1 that takes the authority's nodes.
HubOptions hub_options(const Authority& authority);

// A new key's certificate request.
KeyPair request(const std::string& common_name);  // certificate_pem is the request

}  // namespace culvert::control::scene
