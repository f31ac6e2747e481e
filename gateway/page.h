/*
 * page.h
 *		Answers that are files of the program.
 */
#ifndef EVQ_GATEWAY_PAGE_H
#define EVQ_GATEWAY_PAGE_H

#include "files.h"
#include "request.h"

extern void page_answer(Request *request, const File *file);

#endif /* EVQ_GATEWAY_PAGE_H */
