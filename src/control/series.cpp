// SPDX-License-Identifier: Apache-2.0
#include "control/series.hpp"

#include <algorithm>

namespace culvert::control {
namespace {

void put(std::deque<SeriesTable::Point>& points, Minute minute, const Samples& samples,
         std::size_t& count) {
    if (points.empty() || points.back().minute < minute) {
        points.push_back({minute, samples});
        ++count;
    } else {
        points.back().samples.add(samples);
    }
}

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

bool SeriesTable::add(const SeriesKey& key, Minute now, double value) {
    auto at = series_.find(key);
    if (at == series_.end()) {
        if (series_.size() >= kSeries) {
            return false;
        }
        at = series_.emplace(key, Series{}).first;
    }
    put(at->second.minutes, now, Samples{value, 1, value, value}, points_);
    return true;
}

void SeriesTable::fold(Series& series, Minute before) {
    while (!series.minutes.empty() && series.minutes.front().minute < before) {
        const Point& point = series.minutes.front();
        put(series.hours, point.minute / kHour * kHour, point.samples, points_);
        series.minutes.pop_front();
        --points_;
    }
}

void SeriesTable::age(Minute now) {
    while (true) {
        for (auto at = series_.begin(); at != series_.end();) {
            Series& series = at->second;
            fold(series, detail_from(now));
            while (!series.hours.empty() && series.hours.front().minute < now - kept_) {
                series.hours.pop_front();
                --points_;
            }
            const bool empty = series.minutes.empty() && series.hours.empty();
            at = empty ? series_.erase(at) : std::next(at);
        }
        if (points_ <= most_points_) {
            return;
        }
        if (detail_ > kHour) {
            detail_ /= 2;
        } else if (kept_ > 2 * kHour) {
            kept_ /= 2;
        } else {
            return;
        }
    }
}

std::vector<std::string> SeriesTable::dimensions(const std::string& resource,
                                                 const std::string& metric) const {
    std::vector<std::string> out;
    for (auto at = series_.lower_bound({resource, metric, {}});
         at != series_.end() && at->first.resource == resource && at->first.metric == metric;
         ++at) {
        out.push_back(at->first.dimension);
    }
    return out;
}

std::vector<std::optional<Samples>> SeriesTable::read(const SeriesKey& key, Minute start,
                                                      Minute step, std::size_t buckets) const {
    std::vector<std::optional<Samples>> out(buckets);
    const auto found = series_.find(key);
    if (found == series_.end()) {
        return out;
    }
    for (const auto* points : {&found->second.hours, &found->second.minutes}) {
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
    const auto found = series_.find(key);
    if (found == series_.end()) {
        return std::nullopt;
    }
    const Series& series = found->second;
    return series.hours.empty() ? series.minutes.front().minute : series.hours.front().minute;
}

void SeriesTable::restore(const SeriesKey& key, Series series) {
    if (series.minutes.empty() && series.hours.empty()) {
        return;
    }
    points_ += series.minutes.size() + series.hours.size();
    series_[key] = std::move(series);
}

}  // namespace culvert::control
