/*
 * admission.h - what the head of a request must have to be let in by a
 * gateway, and what of it is carried.
 */
#ifndef ADMISSION_H
#define ADMISSION_H

#include "gateway.h"
#include "http.h"
#include "record.h"

/* RFC 6750 2.1, case-sensitive; exactly one such header. */
bool admission_of_token(const struct http_request *req,
    const struct gateway_options *o);

/* JSON, or a type that the options accept. */
bool admission_of_type(const struct http_request *req,
    const struct gateway_options *o);

/* One of the options' hosts, with any port; any, when they name none. */
bool admission_of_host(const struct http_request *req,
    const struct gateway_options *o);

/*
 * The carried headers into r, whose path says which these are; repeated ones
 * joined by commas (RFC 9110 5.3).  They point into req and joined, which has
 * failed when there is no memory.
 */
void admission_take_headers(const struct http_request *req,
    struct buf *joined, struct record *r);

#endif
