# R's own download and url(), and the package curl with one handle.
url <- function(path) paste0("http://10.9.0.2:8080/", path)
for (n in 1:4) for (path in c("small", "late", "large")) { download.file(url(path), "fetched", quiet = TRUE, method = "libcurl"); Sys.sleep(0.1) }
handle <- curl::new_handle(timeout = 8)
for (n in 1:5) {
  for (path in c("small", "late", "large", "none")) curl::curl_fetch_memory(url(path), handle = handle)
  upload <- curl::new_handle(post = TRUE, postfields = strrep("u", 20000))
  curl::curl_fetch_memory(url("upload"), handle = upload)
  Sys.sleep(0.3)
}
