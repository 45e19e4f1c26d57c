/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Enums of drop_reasons.def and counters.def. */
#ifndef CV_ABI_NAMES_H
#define CV_ABI_NAMES_H

enum cv_drop {
#define CV_DROP(symbol, number, severity, sentence) CV_DROP_##symbol = number,
#include "abi/drop_reasons.def"
#undef CV_DROP
	CV_DROP_MAX = 64, /* size of the counter array; raise only with CV_ABI_VERSION */
};

enum cv_counter {
#define CV_COUNTER(symbol, number, sentence) CV_COUNTER_##symbol = number,
#include "abi/counters.def"
#undef CV_COUNTER
	CV_COUNTER_MAX = 64,
};

#endif
