// SPDX-License-Identifier: Apache-2.0
// A node's next certificate. Promises: it is only ever for the name of the certificate that the
// stream authenticated with, whatever the request asks for; the old one stays good until the node
// has connected with the new one, so that neither a lost answer nor a crash between the two locks
// it out; then the old one is revoked.
//
// Writes to the store: called on the hub's answering thread. Strand-bound.
#pragma once

#include "control/hub_core.hpp"
#include "store/store.hpp"

#include <functional>
#include <string>

namespace culvert::control {

class Renewals {
  public:
    using Issue =
        std::function<Result<std::string>(const std::string& csr_pem, const std::string& name)>;

    Renewals(store::Store& store, Issue issue) : store_(store), issue_(std::move(issue)) {}

    // Signs the request and writes the serial number down beside the old one. Errors:
    // kPermissionDenied (another node's name; the node is gone or has another certificate), the
    // authority's, the store's.
    Result<Renewed> renew(const StreamIdentity& who, const std::string& csr_pem);
    // The node has connected with its next certificate: from now on it is the only one.
    Status confirm(const StreamIdentity& who);

  private:
    store::Store& store_;
    const Issue issue_;
};

}  // namespace culvert::control
