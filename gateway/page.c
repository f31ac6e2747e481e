/*
 * page.c
 *		Answers that are files of the program.
 */
#include "page.h"

#include <string.h>

/* The pages load from here alone, run no inline script, and are shown in no frame. */
#define POLICY \
	"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

void
page_answer(Request *request, const File *file)
{
	const char *known = request->headers.values[HEADER_IF_NONE_MATCH];
	size_t length = (size_t) (file->end - file->data);
	char tag[19];

	files_tag(file, tag);
	request->status = MHD_HTTP_OK;
	if (known != NULL && strcmp(known, tag) == 0)
	{
		request->status = MHD_HTTP_NOT_MODIFIED;
		length = 0;
	}
	request->response = MHD_create_response_from_buffer(length, (void *) file->data, MHD_RESPMEM_PERSISTENT);
	MHD_add_response_header(request->response, MHD_HTTP_HEADER_CONTENT_TYPE, files_type(file));
	MHD_add_response_header(request->response, MHD_HTTP_HEADER_ETAG, tag);
	MHD_add_response_header(request->response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
	MHD_add_response_header(request->response, "Content-Security-Policy", POLICY);
	MHD_add_response_header(request->response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(request->response, "Referrer-Policy", "no-referrer");
}
