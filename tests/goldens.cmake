convnext_test(goldens_test goldens_test.cc golden.cc)
# Of a program that does not run without numpy, torch and timm: where they are set up.
convnext_script_test(parity $<TARGET_FILE:convnext_program>)
set_tests_properties(parity PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
