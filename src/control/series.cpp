// SPDX-License-Identifier: Apache-2.0
#include "control/series.hpp"

#include <algorithm>
#include <utility>

namespace culvert::control {
namespace {

constexpr std::size_t kDropAtOnce = 64;  // the part of one's series that makes room for others

// Whose a resource is: /subscriptions/NAME/, by which keys begin.
std::string_view owner_of(std::string_view resource) {
    std::size_t end = 0;
    for (int slashes = 0; slashes < 3; ++slashes) {
        end = resource.find('/', end);
        if (end == resource.npos) {
            return resource;
        }
        ++end;
    }
    return resource.substr(0, end);
}

Minute hour_of(Minute minute) { return minute / SeriesTable::kHour * SeriesTable::kHour; }

}  // namespace

void Samples::add(const Samples& more) {
    if (count == 0) {
        *this = more;
        return;
    }
    sum += more.sum;
    count += more.count;
    least = std::min(least, more.least);
    most = std::max(most, more.most);
}

SeriesTable::Shares::iterator SeriesTable::share_of(std::string_view resource) {
    const std::string_view owner = owner_of(resource);
    const auto at = shares_.find(owner);
    return at != shares_.end() ? at : shares_.emplace(std::string(owner), Share{}).first;
}

void SeriesTable::put(Share& share, std::deque<Point>& points, Minute minute,
                      const Samples& samples) {
    if (points.empty() || points.back().minute < minute) {
        points.push_back({minute, samples});
        ++share.points;
        ++points_;
    } else {
        points.back().samples.add(samples);
    }
}

void SeriesTable::drop_points(Share& share, std::size_t count) {
    share.points -= count;
    points_ -= count;
}

void SeriesTable::drop(Share& share, const SeriesKey& key) {
    drop_points(share, series_.find(key)->points());
    --share.series;
    series_.erase(key);
}

// One more series of it: within what one may have, and where all are taken, at the expense of
// whoever has more.
bool SeriesTable::has_room(Shares::iterator share) {
    if (share->second.series >= limits_.series_of_one) {
        return false;
    }
    if (series_.all().size() < limits_.series) {
        return true;
    }
    const auto from =
        std::ranges::max_element(shares_, {}, [](const auto& each) { return each.second.series; });
    if (from->second.series <= share->second.series + 1) {
        return false;
    }
    drop_some(from);
    return true;
}

// Those that nothing was added to for longest.
void SeriesTable::drop_some(Shares::iterator from) {
    std::vector<std::pair<Minute, SeriesKey>> order;
    order.reserve(from->second.series);
    for (auto at = series_.all().lower_bound({from->first, {}, {}});
         at != series_.all().end() && owner_of(at->first.resource) == from->first; ++at) {
        const Series& series = at->second;
        order.emplace_back(
            series.minutes.empty() ? series.hours.back().minute : series.minutes.back().minute,
            at->first);
    }
    const auto count = static_cast<std::ptrdiff_t>((order.size() + kDropAtOnce - 1) / kDropAtOnce);
    std::ranges::nth_element(order, order.begin() + count - 1);
    for (auto at = order.begin(); at != order.begin() + count; ++at) {
        drop(from->second, at->second);
        ++counts_.dropped;
    }
}

bool SeriesTable::add(const SeriesKey& key, Minute now, double value) {
    const auto share = share_of(key.resource);
    if (series_.find(key) == nullptr) {
        if (!has_room(share)) {
            ++counts_.refused;
            return false;
        }
        ++share->second.series;
    }
    put(share->second, series_.change(key).minutes, now, Samples{value, 1, value, value});
    return true;
}

// To what the share says.
void SeriesTable::fold(Shares::iterator share) {
    auto& [owner, of] = *share;
    std::vector<SeriesKey> empty;
    for (auto at = series_.all().lower_bound({owner, {}, {}});
         at != series_.all().end() && owner_of(at->first.resource) == owner; ++at) {
        const Series& seen = at->second;
        const bool whole = (seen.minutes.empty() || seen.minutes.front().minute >= of.folded) &&
                           (seen.hours.empty() || seen.hours.front().minute >= of.forgotten);
        if (whole && seen.points() != 0) {
            continue;
        }
        Series& series = series_.change(at->first);
        while (!series.minutes.empty() && series.minutes.front().minute < of.folded) {
            const Point point = series.minutes.front();
            series.minutes.pop_front();
            drop_points(of, 1);
            put(of, series.hours, hour_of(point.minute), point.samples);
        }
        while (!series.hours.empty() && series.hours.front().minute < of.forgotten) {
            series.hours.pop_front();
            drop_points(of, 1);
        }
        if (series.points() == 0) {
            empty.push_back(at->first);
        }
    }
    for (const SeriesKey& key : empty) {
        drop(of, key);
    }
}

// There is nothing more to take from it but whole series.
bool SeriesTable::is_tight(const Share& share, Minute now) {
    return share.folded >= now && now - share.forgotten <= 2 * kHour;
}

// Half of the detail goes, then all of it, then half of the time.
void SeriesTable::tighten(Shares::iterator share, Minute now) {
    auto& [owner, of] = *share;
    const Minute detail = now - of.folded;
    if (detail > 2 * kHour) {
        of.folded = hour_of(of.folded + detail / 2);
    } else if (detail > 0) {
        of.folded = now;
    } else {
        of.forgotten += (now - of.forgotten) / 2;
    }
    ++counts_.tightened;
    fold(share);
}

void SeriesTable::age(Minute now) {
    for (auto at = shares_.begin(); at != shares_.end(); ++at) {
        Share& share = at->second;
        // a clock that was ahead takes nothing for good
        share.folded = std::clamp(share.folded, hour_of(now - kDetail), now);
        share.forgotten = std::clamp(share.forgotten, now - kKept, now);
        fold(at);
        while (share.points > limits_.points_of_one && !is_tight(share, now)) {
            tighten(at, now);
        }
    }
    const auto weight = [&](const auto& each) {
        return is_tight(each.second, now) ? 0 : each.second.points;
    };
    while (points_ > limits_.points) {
        const auto most = std::ranges::max_element(shares_, {}, weight);
        if (weight(*most) == 0) {
            break;
        }
        tighten(most, now);
    }
    std::erase_if(shares_, [](const auto& each) { return each.second.series == 0; });
}

Minute SeriesTable::detail_from(const std::string& resource, Minute now) const {
    const Minute usual = hour_of(now - kDetail);
    const auto share = shares_.find(owner_of(resource));
    return share == shares_.end() || share->second.folded <= usual
               ? usual
               : hour_of(share->second.folded + kHour - 1);
}

std::vector<std::string> SeriesTable::dimensions(const std::string& resource,
                                                 const std::string& metric) const {
    std::vector<std::string> out;
    const auto& series = series_.all();
    for (auto at = series.lower_bound({resource, metric, {}});
         at != series.end() && at->first.resource == resource && at->first.metric == metric; ++at) {
        out.push_back(at->first.dimension);
    }
    return out;
}

std::vector<std::optional<Samples>> SeriesTable::read(const SeriesKey& key, Minute start,
                                                      Minute step, std::size_t buckets) const {
    std::vector<std::optional<Samples>> out(buckets);
    const Series* found = series_.find(key);
    if (found == nullptr) {
        return out;
    }
    for (const auto* points : {&found->hours, &found->minutes}) {
        auto at = std::ranges::lower_bound(*points, start, {}, &Point::minute);
        for (; at != points->end(); ++at) {
            const auto bucket = static_cast<std::size_t>((at->minute - start) / step);
            if (bucket >= buckets) {
                break;
            }
            if (!out[bucket]) {
                out[bucket].emplace();
            }
            out[bucket]->add(at->samples);
        }
    }
    return out;
}

std::optional<Minute> SeriesTable::first(const SeriesKey& key) const {
    const Series* series = series_.find(key);
    if (series == nullptr) {
        return std::nullopt;
    }
    return series->hours.empty() ? series->minutes.front().minute : series->hours.front().minute;
}

void SeriesTable::restore(const SeriesKey& key, Series series) {
    if (series.points() == 0 || series_.find(key) != nullptr) {
        return;
    }
    Share& share = share_of(key.resource)->second;
    ++share.series;
    share.points += series.points();
    points_ += series.points();
    if (!series.hours.empty()) {
        share.folded = std::max(share.folded, series.hours.back().minute + 1);
    }
    series_.change(key) = std::move(series);
}

}  // namespace culvert::control
