// SPDX-License-Identifier: Apache-2.0
// A node's next certificate. Promises: it is only ever for the name of the certificate that the
// stream authenticated with, whatever the request asks for; the old one stays good until the node
// has connected with the new one, so that neither a lost answer nor a crash between the two locks
// it out; then the old one is revoked.
//
// Writes to the store: called on the hub's answering thread. Strand-bound.
#pragma once

#include "base/clock.hpp"
#include "control/hub_core.hpp"
#include "store/store.hpp"

#include <functional>
#include <string>

namespace culvert::control {

class Renewals {
  public:
    using Issue =
        std::function<Result<std::string>(const std::string& csr_pem, const std::string& name)>;

    Renewals(store::Store& store, const Clock& clock, Issue issue)
        : store_(store), clock_(clock), issue_(std::move(issue)) {}

    // Signs the request and writes the serial number down beside the old one, and beside what the
    // node was given before and has not used. Errors:
    // kPermissionDenied (another node's name; the node is gone or has another certificate), the
    // authority's, the store's.
    Result<Renewed> renew(const StreamIdentity& who, const std::string& csr_pem);
    // The node has connected with one of its next certificates: from now on it is the only one.
    Status confirm(const StreamIdentity& who);
    // The node has connected with a certificate that the store, which was restored, has forgotten:
    // from now on it is the only one, and that is recorded. Error: kPermissionDenied when it was
    // revoked, or is not later than the one that the store knows.
    Status adopt(const StreamIdentity& who);

  private:
    Status settle(const StreamIdentity& who, model::Node& node, store::Txn& txn);

    store::Store& store_;
    const Clock& clock_;
    const Issue issue_;
};

}  // namespace culvert::control
