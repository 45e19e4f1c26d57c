// SPDX-License-Identifier: Apache-2.0
// What goes into the hub's worker. Internally synchronized; any number of producers, one consumer.
#pragma once

#include "base/guarded.hpp"

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

namespace culvert::control {

template <typename T>
class HubQueue {
  public:
    explicit HubQueue(std::size_t capacity) : capacity_(capacity) {}

    // Never blocks; for producers that are bounded themselves (a stream has at most a few items in
    // here). False after close().
    bool push(T item) {
        return state_.with([&](State& state) {
            if (!state.closed) {
                state.items.push_back(std::move(item));
            }
            return !state.closed;
        });
    }

    // Waits while `capacity` items are in the queue. False after close().
    bool push_when_room(T item) {
        state_.wait(
            [this](const State& state) { return state.closed || state.items.size() < capacity_; },
            [](State&) {});
        return push(std::move(item));
    }

    // Everything there is, in order, as soon as there is something; empty after `patience`; nullopt
    // when closed and empty.
    std::optional<std::deque<T>> pop_all(std::chrono::nanoseconds patience) {
        auto items = state_.wait_for(
            patience, [](const State& state) { return state.closed || !state.items.empty(); },
            [](State& state) -> std::optional<std::deque<T>> {
                if (state.closed && state.items.empty()) {
                    return std::nullopt;
                }
                return std::exchange(state.items, {});
            });
        if (items && items->size() >= capacity_) {
            state_.with([](State&) {});  // wakes push_when_room
        }
        return items;
    }

    std::size_t size() const {
        const auto at_once = [](const State&) { return true; };
        return state_.wait(at_once, [](const State& state) { return state.items.size(); });
    }

    void close() {
        state_.with([](State& state) { state.closed = true; });
    }

  private:
    struct State {
        std::deque<T> items;
        bool closed = false;
    };
    const std::size_t capacity_;
    mutable Monitor<State> state_;
};

}  // namespace culvert::control
