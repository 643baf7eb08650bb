// The language service is written for a page's global object and finds none
// in a worker.
self.global = self;
