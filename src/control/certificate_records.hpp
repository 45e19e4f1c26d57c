// SPDX-License-Identifier: Apache-2.0
// Which of a node's certificates are good: the one in its document, those that it was given and has
// not used yet, and none that was revoked. A revocation is a record of its own, /revoked/<serial>,
// written in the transaction that takes the certificate out of the document and kept until it would
// have ended by itself. A restore takes documents back, never these records (decision 0011).
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "model/nodes.hpp"
#include "store/store.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace culvert::control {

// Is it the node's certificate, or one that it was given and has not used yet?
bool may_use(const model::Node& node, std::string_view serial);

// Was a certificate with these times made after the node's one? False when nobody has written
// down when that was made.
bool is_later(const model::Node& node, WallTime from, WallTime until);

// Records of every certificate of the node but `kept`.
std::vector<store::Op> revocations(const model::Node& node, std::string_view kept, WallTime now);

// Erases of records that nobody needs any more; not all at once.
Result<std::vector<store::Op>> ended_revocations(store::Store& store, WallTime now);

}  // namespace culvert::control
