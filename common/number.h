/*
 * number.h
 *		Whole numbers as people write them.
 */
#ifndef EVQ_COMMON_NUMBER_H
#define EVQ_COMMON_NUMBER_H

#include <stdbool.h>

extern bool number_read(const char *text, long least, long most, long *number);

#endif /* EVQ_COMMON_NUMBER_H */
