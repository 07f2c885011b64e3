convnext_test(io_test file_test.cc npy_test.cc picture_test.cc safetensors_test.cc)
convnext_test(data_test dataset_test.cc tar_test.cc)
convnext_test(tensor_file_test file_limits_test.cc golden.cc pickle_test.cc tensor_file_test.cc)
